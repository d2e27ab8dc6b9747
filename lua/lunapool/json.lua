-- JSON, for values that are kept: nil, booleans, numbers that are finite, texts, lists, and tables by texts.
--
-- Called once for each VM; returns encode and decode.  What cannot be written is an error of the caller's; a text that is no JSON is one, too.

local DEEPEST = 20
local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local unescapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- ---- writing ----------------------------------------------------------------------------------------------------------

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local encode

local function encode_table(value, depth)
  local out, n = {}, #value
  for key in pairs(value) do
    if n > 0 and not (type(key) == "number" and key % 1 == 0 and key >= 1 and key <= n) then
      error("a table that is a list, and has names, too, is no JSON", 0)
    elseif n == 0 and type(key) ~= "string" then
      error("a table with a " .. type(key) .. " for a name is no JSON", 0)
    end
  end
  for i = 1, n do
    out[i] = encode(value[i], depth + 1)
  end
  if n > 0 then
    return "[" .. table.concat(out, ",") .. "]"
  end
  for key, item in pairs(value) do
    out[#out + 1] = quoted(key) .. ":" .. encode(item, depth + 1)
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function encode(value, depth)
  local kind = type(value)
  if depth > DEEPEST then
    error("a table in a table, " .. DEEPEST .. " deep, is too much", 0)
  elseif kind == "nil" then
    return "null"
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "number" and value == value and value ~= math.huge and value ~= -math.huge then
    return ("%.17g"):format(value)
  elseif kind == "string" then
    return quoted(value)
  elseif kind == "table" then
    return encode_table(value, depth)
  end
  error("a " .. (kind == "number" and "number that is not finite" or kind) .. " is no JSON", 0)
end

-- ---- reading ----------------------------------------------------------------------------------------------------------

local function bad(at)
  error("no JSON at byte " .. at, 0)
end

local function decode_text(text, at)
  local out = {}
  while true do
    local stop = text:find('["\\]', at) or bad(at)
    out[#out + 1] = text:sub(at, stop - 1)
    if text:sub(stop, stop) == '"' then
      return table.concat(out), stop + 1
    end
    local c = text:sub(stop + 1, stop + 1)
    if c == "u" then
      local code = tonumber(text:match("^00(%x%x)", stop + 2) or bad(stop), 16) -- what encode() writes
      out[#out + 1] = string.char(code)
      at = stop + 6
    else
      out[#out + 1] = unescapes[c] or bad(stop)
      at = stop + 2
    end
  end
end

local decode

local function decode_list(text, at, depth)
  local out = {}
  while text:sub(at, at) ~= "]" do
    out[#out + 1], at = decode(text, at, depth + 1)
    at = text:match("^,()", at) or at
  end
  return out, at + 1
end

local function decode_object(text, at, depth)
  local out = {}
  while text:sub(at, at) ~= "}" do
    local key
    key, at = decode_text(text, text:match('^"()', at) or bad(at))
    out[key], at = decode(text, text:match("^:()", at) or bad(at), depth + 1)
    at = text:match("^,()", at) or at
  end
  return out, at + 1
end

function decode(text, at, depth)
  local c = text:sub(at, at)
  if depth > DEEPEST then
    bad(at)
  elseif c == '"' then
    return decode_text(text, at + 1)
  elseif c == "[" then
    return decode_list(text, at + 1, depth)
  elseif c == "{" then
    return decode_object(text, at + 1, depth)
  end
  local word, after = text:match("^([%w.+-]+)()", at)
  if word == "null" then
    return nil, after
  elseif word == "true" or word == "false" then
    return word == "true", after
  end
  return word and tonumber(word) or bad(at), after
end

return {
  encode = function(value) return encode(value, 0) end,
  decode = function(text) return (decode(text, 1, 0)) end,
}
