-- Failover by commands on this machine, where the nodes are, too, or whose programs in bin_dir reach them.
--
--   return require "lunapool.by_commands"

return require "lunapool.by" { here = true }
