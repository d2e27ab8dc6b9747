-- From two to four at night (UTC) tables are reorganised: batch jobs do not write then, and hear when they may again.

local lp = require "lunapool"

local FROM, TO = "02:00", "04:00"

local M = { api = 1 }

local function is_closed()
  local now = os.date("!%H:%M")
  return now >= FROM and now < TO
end

function M.route(query, cluster)
  if query.application == "batch" and not query.is_read and is_closed() then
    return lp.reject("batch jobs may write again at " .. TO .. " UTC", "57P03"), "maintenance"
  end
end

return M
