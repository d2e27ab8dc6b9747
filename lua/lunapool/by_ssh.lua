-- Failover by ssh: where the service role may not do it by SQL, or its followers need pg_rewind.
--
--   return require "lunapool.by_ssh"
--
-- It takes of the configuration what lunapool.by does, ssh_user of the cluster, ssh_host of a node that ssh knows by another name;
-- and a key that lets the user who runs Lunapool log in at the nodes without a question.

return require "lunapool.by" {}
