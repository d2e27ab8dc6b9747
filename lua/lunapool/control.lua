-- What of the control plane's library is written in Lua, over what C gives.
--
-- Called once for each VM, with the module lunapool, to which it adds, and the functions that only stand behind others.

local lp, native = ...

function lp.deadline(seconds, fn)
  local values, err = native.deadline(seconds, fn)
  if values then
    return unpack(values, 1, values.n)
  elseif values == nil then
    return nil, err
  end
  error(err, 0) -- raised in a coroutine of its own, it goes on here
end

function lp.parallel(list, fn, options)
  options = options or {}
  local limit = options.limit
  if limit ~= nil and (type(limit) ~= "number" or limit < 1) then
    error("limit is a number from 1 on", 2)
  end
  local items = {}
  for i, item in ipairs(list) do
    items[i] = item
  end
  local results, errors = native.parallel(items, fn, limit, options.fail == "fast")
  for i = 1, #items do
    local err = errors[i]
    if err ~= nil then
      local kind = type(err) == "table" and err.kind or "raised"
      return nil, native.error { kind = kind, message = tostring(err), errors = errors, results = results }
    end
  end
  return results
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
