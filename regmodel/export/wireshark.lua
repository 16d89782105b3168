-- How records of regmodel (docs/exports.md) are shown; the tables of one device stand above this. Files of several devices may
-- be loaded together: the first one makes the protocol "regmodel", each adds its device to the table "regmodel.device".

local proto = Proto("regmodel." .. DEVICE.abbrev, DEVICE.title)
local fields = {}

-- As display filters spell it.
local function filter_name(path)
    return proto.name:lower() .. "." .. path:gsub("[^%w_.]", "_"):lower()
end

local function make(abbrev, name, width, values, mask, doc, signed)
    local bits = width <= 8 and "8" or width <= 16 and "16" or width <= 32 and "32" or "64"
    local kind, shown = "uint" .. bits, base.HEX_DEC
    if signed then kind, shown = "int" .. bits, base.DEC end
    local field = ProtoField[kind](filter_name(abbrev), name, shown, values, mask, doc)
    fields[#fields + 1] = field
    return field
end

-- Fields of a word: by mask, or by value where the mask is more than a number in Lua can hold.
local function prepare_word(word, path)
    for _, f in ipairs(word.fields or {}) do
        local mask = word.width <= 32 and math.floor((2 ^ f.width - 1) * 2 ^ f.lsb) or nil
        f.field = make(path .. "." .. f.name, f.name, mask and word.width or f.width, f.values, mask, f.doc)
    end
end

local function prepare(members, path)
    for _, m in ipairs(members) do
        local at = m.name == "" and path or path .. "." .. m.name
        if m.members then
            prepare(m.members, at)
        elseif m.bytes then
            m.field = ProtoField.bytes(filter_name(at), m.name, base.NONE, m.doc)
            fields[#fields + 1] = m.field
        else
            m.width = 8 * m.size
            m.field = make(at, m.name == "" and path or m.name, m.width, m.values, nil, m.doc, m.signed)
            prepare_word(m, at)
        end
    end
end

for name, schema in pairs(SCHEMAS) do prepare(schema.members, name) end
for _, bar in pairs(BARS) do
    for name, register in pairs(bar) do
        register.field = make("register." .. name, name, register.width, nil, nil, register.doc)
        prepare_word(register, "register." .. name)
    end
end
proto.fields = fields

local function show_fields(tree, word, range, little)
    for _, f in ipairs(word.fields or {}) do
        if word.width <= 32 then
            if little then tree:add_le(f.field, range) else tree:add(f.field, range) end
        else
            local whole = little and range:le_uint64() or range:uint64()
            local value = whole:lshift(64 - f.lsb - f.width):rshift(64 - f.width)
            tree:add(f.field, range, f.width > 32 and value or value:tonumber())
        end
    end
end

local show

local function show_one(tree, m, buffer, at, label)
    if at >= buffer:len() then return end
    local range = buffer(at, math.min(m.size, buffer:len() - at))
    if m.members then
        show(tree:add(range, label), m.members, range)
    elseif m.bytes then
        tree:add(m.field, range)
    elseif range:len() == m.size then
        local item = m.big_endian and tree:add(m.field, range) or tree:add_le(m.field, range)
        show_fields(item, m, range, not m.big_endian)
    end
end

local function show_all(tree, m, buffer, at, label, level)
    local array = m.arrays and m.arrays[level]
    if not array then return show_one(tree, m, buffer, at, label) end
    for i = 0, array.count - 1 do
        show_all(tree, m, buffer, at + i * array.stride, label .. "[" .. i .. "]", level + 1)
    end
end

show = function(tree, members, buffer)
    for _, m in ipairs(members) do show_all(tree, m, buffer, m.offset, m.name, 1) end
end

-- The bytes of a descriptor of a ring, which stand behind its place.
local function behind_place(name, buffer, pinfo)
    local ring = buffer(8, buffer(1, 1):uint())
    local op = buffer(0, 1):uint() == 1 and "write back" or "fetch"
    pinfo.cols.info = string.format("%s %s #%d %s", op, ring:string(), buffer(4, 4):uint(), name)
    return buffer(8 + ring:len()):tvb()
end

local function show_access(tree, path, buffer, pinfo)
    local op, bar, size = buffer(0, 1):uint() == 1 and "write" or "read", buffer(1, 1):uint(), buffer(2, 1):uint()
    local offset, range = buffer(4, 4):uint(), buffer(16 - size, size)
    local value = range:uint64()
    local place = path ~= "" and path or string.format("+0x%x", offset)
    pinfo.cols.info = string.format("%s BAR %d %s 0x%s", op, bar, place, value:tohex(2 * size))
    local register = (BARS[bar] or {})[path:gsub("%[%d+%]$", "")]
    if register and register.width == 8 * size then
        local item = tree:add(register.field, range)
        show_fields(item, register, range, false)
    end
end

function proto.dissector(buffer, pinfo, root)
    local names = 8 + buffer(5, 1):uint() + buffer(6, 1):uint()
    local name, data = buffer(names, buffer(7, 1):uint()):string(), buffer(names + buffer(7, 1):uint()):tvb()
    local tree = root:add(proto, data(), DEVICE.title .. ": " .. name)
    if buffer(4, 1):uint() == 4 then return show_access(tree, name, data, pinfo) end
    local schema = SCHEMAS[name]
    if buffer(4, 1):uint() == 5 then
        data = behind_place(name, data, pinfo)
    else
        pinfo.cols.info = name .. (schema and ": " .. schema.doc or " (unknown)")
    end
    if schema then show(tree, schema.members, data) end
end

local known, devices = pcall(DissectorTable.get, "regmodel.device")
if not (known and devices) then
    devices = DissectorTable.new("regmodel.device", "Device of regmodel", ftypes.STRING)
    local top = Proto("regmodel", "Registers, descriptors and messages of a device")
    local KINDS = { [1] = "message", [2] = "descriptor", [3] = "structure", [4] = "access", [5] = "descriptor of a ring" }
    local device = ProtoField.string("regmodel.device", "Device")
    local origin = ProtoField.string("regmodel.function", "Function")
    local kind = ProtoField.uint8("regmodel.kind", "Kind", base.DEC, KINDS)
    local schema = ProtoField.string("regmodel.name", "Name")
    local op = ProtoField.uint8("regmodel.op", "Operation", base.DEC, { [0] = "fetch", [1] = "write back" })
    local ring = ProtoField.string("regmodel.ring", "Ring")
    local index = ProtoField.uint32("regmodel.index", "Index", base.DEC)
    top.fields = { device, origin, kind, schema, op, ring, index }
    function top.dissector(buffer, pinfo, root)
        if buffer:len() < 8 or buffer(0, 4):string() ~= "RGM1" then return 0 end
        local tree, at = root:add(top, buffer()), 8
        pinfo.cols.protocol = "regmodel"
        tree:add(kind, buffer(4, 1))
        local parts = {}
        for i, field in ipairs({ device, origin, schema }) do
            local range = buffer(at, buffer(4 + i, 1):uint())
            parts[i] = range:string()
            tree:add(field, range)
            at = at + range:len()
        end
        if buffer(4, 1):uint() == 5 then
            tree:add(ring, buffer(at + 8, buffer(at + 1, 1):uint()))
            tree:add(index, buffer(at + 4, 4))
            tree:add(op, buffer(at, 1))
        end
        pinfo.cols.src = parts[2]
        local inner = devices:get_dissector(parts[1])
        if inner then inner:call(buffer, pinfo, root) end
    end
    DissectorTable.get("wtap_encap"):add(wtap.USER0, top)
end
devices:add(DEVICE.name, proto)
