-- What of the control plane's library is written in Lua, over what C gives.
--
-- Called once for each VM, with the module lunapool, to which it adds, and the functions that only stand behind others.

local lp, native = ...

-- What was raised in a coroutine of its own is raised here: where the script called us.
local function pass(ok, ...)
  if ok then
    return ...
  end
  error(..., 0)
end

function lp.deadline(seconds, fn)
  return pass(native.deadline(seconds, fn))
end

function lp.retry(options)
  local tries, delay, backoff = options.tries or 3, options.delay or 1, options.backoff or 1
  return function(fn)
    for try = 1, tries do
      local value, err = fn(try)
      if value or try == tries then
        return value, err
      end
      lp.sleep(delay)
      delay = delay * backoff
    end
  end
end
