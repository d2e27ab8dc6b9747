/*
 * text — find, match, gmatch, gsub and rep for policies: Lua's own could run for hours inside one instruction, where no hook fires.
 *
 * They mean what Lua 5.1's mean; what they do counts against the call's steps, and what rep makes is bounded.
 */
#include <string.h>

#include "match.h"
#include "priv.h"

#define REP_MAX (1u << 20)
#define BYTES_PER_STEP 32
#define BYTES_PER_STEP_OF_LUA 1 /* where each byte is looked at */

static void compile(lua_State *L, struct pattern *p, int arg, bool may_anchor)
{
	size_t len;
	const char *text = luaL_checklstring(L, arg, &len);
	const char *wrong = pattern_compile(p, text, len, may_anchor);
	vm_spend(L, (uint32_t)(len / BYTES_PER_STEP));
	if (wrong)
		luaL_error(L, "%s", wrong);
}

static void begin(lua_State *L, struct match *m, const struct pattern *p, int arg)
{
	m->pattern = p;
	m->text = luaL_checklstring(L, arg, &m->len);
	m->is_over = false;
}

/* One try; raises an error when the call's steps are used up. */
static size_t try_at(lua_State *L, struct match *m, size_t at)
{
	struct policy_vm *vm = vm_of(L);
	m->steps_left = vm->steps_left;
	size_t end = match_at(m, at);
	vm->steps_left = m->steps_left;
	if (m->is_over)
		vm_spend(L, UINT32_MAX);
	return end;
}

/* The first match at or behind *AT, which it moves there; MATCH_NONE. */
static size_t search(lua_State *L, struct match *m, size_t *at)
{
	for (; *at <= m->len; ++*at) {
		size_t end = try_at(L, m, *at);
		if (end != MATCH_NONE || m->pattern->is_anchored)
			return end;
	}
	return MATCH_NONE;
}

static void push_capture(lua_State *L, const struct match *m, unsigned i, size_t at, size_t end)
{
	if (i == 0 && m->pattern->n_captures == 0)
		lua_pushlstring(L, m->text + at, end - at);
	else if (i >= m->pattern->n_captures)
		luaL_error(L, "invalid capture index");
	else if (m->captures[i].is_place)
		lua_pushinteger(L, (lua_Integer)m->captures[i].at + 1);
	else
		lua_pushlstring(L, m->text + m->captures[i].at, m->captures[i].len);
}

/* Without captures, the whole match counts as one if IS_WHOLE. */
static int push_captures(lua_State *L, const struct match *m, bool is_whole, size_t at, size_t end)
{
	unsigned n = m->pattern->n_captures ? m->pattern->n_captures : is_whole;
	luaL_checkstack(L, (int)n, "too many captures");
	for (unsigned i = 0; i < n; i++)
		push_capture(L, m, i, at, end);
	return (int)n;
}

/* The third argument, from 1 or from the end if it is negative, as an offset. */
static size_t start_of(lua_State *L, size_t len)
{
	lua_Integer at = luaL_optinteger(L, 3, 1);
	if (at < 0)
		at = at + (lua_Integer)len + 1 > 0 ? at + (lua_Integer)len + 1 : 1;
	return at > 0 ? (size_t)at - 1 : 0;
}

static int find_plain(lua_State *L, const char *text, size_t len, const char *what, size_t what_len, size_t from)
{
	vm_spend(L, (uint32_t)((len + what_len) / BYTES_PER_STEP));
	const char *at = memmem(text + from, len - from, what, what_len);
	if (!at) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, at - text + 1);
	lua_pushinteger(L, at - text + (lua_Integer)what_len);
	return 2;
}

static int find_or_match(lua_State *L, bool is_find)
{
	size_t len, what_len;
	const char *text = luaL_checklstring(L, 1, &len), *what = luaL_checklstring(L, 2, &what_len);
	size_t at = start_of(L, len);
	if (at > len) /* Lua 5.1 looks at the end then */
		at = len;
	if (is_find && (lua_toboolean(L, 4) || !what[strcspn(what, "^$*+?.([%-")]) && strlen(what) == what_len)
		return find_plain(L, text, len, what, what_len, at);
	struct pattern p;
	struct match m;
	compile(L, &p, 2, true);
	begin(L, &m, &p, 1);
	size_t end = search(L, &m, &at);
	if (end == MATCH_NONE) {
		lua_pushnil(L);
		return 1;
	}
	if (!is_find)
		return push_captures(L, &m, true, at, end);
	lua_pushinteger(L, (lua_Integer)at + 1);
	lua_pushinteger(L, (lua_Integer)end);
	return 2 + push_captures(L, &m, false, at, end);
}

int text_find(lua_State *L)
{
	return find_or_match(L, true);
}

int text_match(lua_State *L)
{
	return find_or_match(L, false);
}

/* Upvalues: text, pattern, where to go on. */
static int next_match(lua_State *L)
{
	struct pattern p;
	struct match m;
	compile(L, &p, lua_upvalueindex(2), false);
	begin(L, &m, &p, lua_upvalueindex(1));
	size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(3)), end = search(L, &m, &at);
	if (end == MATCH_NONE)
		return 0;
	lua_pushinteger(L, (lua_Integer)(end == at ? end + 1 : end));
	lua_replace(L, lua_upvalueindex(3));
	return push_captures(L, &m, true, at, end);
}

int text_gmatch(lua_State *L)
{
	luaL_checkstring(L, 1);
	luaL_checkstring(L, 2);
	lua_settop(L, 2);
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, next_match, 3);
	return 1;
}

/* %1 in the replacement. */
static void add_text(lua_State *L, luaL_Buffer *b, const struct match *m, size_t at, size_t end)
{
	size_t len;
	const char *with = lua_tolstring(L, 3, &len);
	for (size_t i = 0; i < len; i++) {
		if (with[i] != '%') {
			luaL_addchar(b, with[i]);
			continue;
		}
		char next = ++i < len ? with[i] : '\0';
		if (next == '0') {
			luaL_addlstring(b, m->text + at, end - at);
		} else if (next >= '1' && next <= '9') {
			push_capture(L, m, (unsigned)(next - '1'), at, end);
			luaL_addvalue(b);
		} else {
			luaL_addchar(b, next);
		}
	}
}

/* What the function or table makes of the match, on top; false or nil leave the match as it is. */
static void add_value(lua_State *L, luaL_Buffer *b, const struct match *m, size_t at, size_t end)
{
	if (lua_type(L, 3) == LUA_TFUNCTION) {
		vm_check_depth(L);
		lua_pushvalue(L, 3);
		int n = push_captures(L, m, true, at, end);
		lua_call(L, n, 1);
	} else {
		push_capture(L, m, 0, at, end);
		lua_gettable(L, 3);
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		lua_pushlstring(L, m->text + at, end - at);
	} else if (!lua_isstring(L, -1)) {
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	}
	luaL_addvalue(b);
}

static void add_replacement(lua_State *L, luaL_Buffer *b, const struct match *m, size_t at, size_t end)
{
	if (lua_type(L, 3) == LUA_TSTRING || lua_type(L, 3) == LUA_TNUMBER)
		add_text(L, b, m, at, end);
	else
		add_value(L, b, m, at, end);
}

int text_gsub(lua_State *L)
{
	struct pattern p;
	struct match m;
	luaL_Buffer b;
	lua_Integer n = 0, most = luaL_optinteger(L, 4, INT32_MAX);
	int type = lua_type(L, 3);
	luaL_argcheck(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
	              "string/function/table expected");
	lua_settop(L, 3);
	compile(L, &p, 2, true);
	begin(L, &m, &p, 1);
	vm_spend(L, (uint32_t)(m.len / BYTES_PER_STEP));
	luaL_buffinit(L, &b);
	size_t at = 0;
	while (n < most && at <= m.len) {
		size_t end = try_at(L, &m, at);
		if (end != MATCH_NONE) {
			n++;
			add_replacement(L, &b, &m, at, end);
		}
		if (end != MATCH_NONE && end > at)
			at = end;
		else if (at < m.len)
			luaL_addchar(&b, m.text[at++]);
		else
			at++;
		if (p.is_anchored)
			break;
	}
	if (at < m.len)
		luaL_addlstring(&b, m.text + at, m.len - at);
	luaL_pushresult(&b);
	lua_pushinteger(L, n);
	return 2;
}

/* Doubles what is there until LEN bytes are. */
static void fill(char *at, size_t unit, size_t len)
{
	for (size_t done = unit; done < len;) {
		size_t more = done < len - done ? done : len - done;
		memcpy(at + done, at, more);
		done += more;
	}
}

int text_rep(lua_State *L)
{
	size_t len, between_len;
	const char *text = luaL_checklstring(L, 1, &len), *between = luaL_optlstring(L, 3, "", &between_len);
	double n = (double)luaL_checkinteger(L, 2), all = n > 0 ? (double)(len + between_len) * n - (double)between_len : 0;
	if (all > REP_MAX)
		return luaL_error(L, "the result would be longer than 1 MB");
	vm_spend(L, (uint32_t)(all / BYTES_PER_STEP));
	char *to = lua_newuserdata(L, len + between_len + (size_t)all); /* with room for one piece between too many */
	memcpy(to, text, len);
	memcpy(to + len, between, between_len);
	if (len + between_len > 0)
		fill(to, len + between_len, (size_t)all);
	lua_pushlstring(L, to, (size_t)all);
	return 1;
}

/* ---- of other libraries --------------------------------------------------------------------------------------------------------------- */

int text_insert(lua_State *L)
{
	int n = lua_gettop(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argcheck(L, n == 2 || n == 3, n, "wrong number of arguments to 'insert'");
	int last = (int)lua_objlen(L, 1) + 1, at = n == 3 ? luaL_checkint(L, 2) : last;
	if (at > last)
		last = at;
	vm_spend(L, at > 0 ? (uint32_t)(last - at) / 4 : UINT32_MAX);
	for (; last > at; last--) {
		lua_rawgeti(L, 1, last - 1);
		lua_rawseti(L, 1, last);
	}
	lua_rawseti(L, 1, at);
	return 0;
}

static uint32_t cost_of(lua_State *L, int arg, double per_entry)
{
	double n = lua_type(L, arg) == LUA_TSTRING  ? (double)lua_objlen(L, arg) / BYTES_PER_STEP
	           : lua_type(L, arg) == LUA_TTABLE ? (double)lua_objlen(L, arg) * per_entry
	                                            : 0;
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* Upvalues: a function of Lua's own whose work grows with its arguments, and by how many steps for an entry of a table. */
static int charged(lua_State *L)
{
	int n = lua_gettop(L);
	double per_entry = lua_tonumber(L, lua_upvalueindex(2));
	for (int i = 1; i <= n; i++)
		vm_spend(L, cost_of(L, i, per_entry));
	vm_check_depth(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, LUA_MULTRET);
	return lua_gettop(L);
}

void text_charge(lua_State *L, double per_entry)
{
	lua_pushnumber(L, per_entry);
	lua_pushcclosure(L, charged, 2);
}
