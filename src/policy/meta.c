/*
 * meta — tbl/policy.h as LuaLS annotations, so that an editor knows what a policy may write.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy/meta.h"
#include "tbl/policy.h"

static void put_field(FILE *f, const char *name, const char *type, const char *sentence)
{
	fprintf(f, "---@field %s %s %s\n", name, type, sentence);
}

/* "filter: fun(…)" with SELF in front becomes a field's type. */
static void put_method(FILE *f, const char *self, const char *name, const char *parameters, const char *returns,
                       const char *sentence)
{
	fprintf(f, "---@field %s fun(self: %s%s%s)%s%s %s\n", name, self, *parameters ? ", " : "", parameters, *returns ? ": " : "",
	        returns, sentence);
}

/* The parameters' types and names, and the name alone for the declaration. */
static void put_parameters(FILE *f, const char *parameters, char *names, size_t room)
{
	names[0] = '\0';
	for (const char *at = parameters; *at;) {
		size_t name = strcspn(at, ":"), depth = 0, end = name;
		for (; at[end] && (at[end] != ',' || depth > 0); end++)
			depth += (strchr("({<", at[end]) != NULL) - (strchr(")}>", at[end]) != NULL);
		fprintf(f, "---@param %.*s %.*s\n", (int)name, at, (int)(end - name - 2), at + name + 2);
		size_t bare = at[name - 1] == '?' ? name - 1 : name, used = strlen(names);
		snprintf(names + used, room - used, "%s%.*s", used ? ", " : "", (int)bare, at);
		at += end;
		at += strspn(at, ", ");
	}
}

static void put_function(FILE *f, const char *module, const char *name, const char *parameters, const char *returns,
                         const char *sentence)
{
	char names[200];
	fprintf(f, "\n---%s\n", sentence);
	put_parameters(f, parameters, names, sizeof names);
	if (*returns)
		fprintf(f, "---@return %s\n", returns);
	fprintf(f, "function %s.%s(%s) end\n", module, name, names);
}

#define FIELD(name, type, when, sentence) put_field(f, #name, type, sentence);
#define NO_METHODS(...)

static void put_classes(FILE *f)
{
#define METHOD(name, parameters, returns, when, sentence) \
	put_method(f, "lunapool.Statement", #name, parameters, returns, sentence);
	fputs("---What plan() sees: what is the same each time the statement comes.\n---@class lunapool.Statement\n", f);
	POLICY_STATEMENT(FIELD, METHOD)
	fputs("\n---What route() and balance() see.\n---@class lunapool.Query: lunapool.Statement\n", f);
	POLICY_QUERY(FIELD, NO_METHODS)
	fputs("\n---What a comment in front of a statement asks for.\n---@class lunapool.Hint\n", f);
	POLICY_HINT(FIELD, NO_METHODS)
	fputs("\n---What admit() sees.\n---@class lunapool.Client\n", f);
	POLICY_CLIENT(FIELD, NO_METHODS)
#undef METHOD
#define METHOD(name, parameters, returns, when, sentence) put_method(f, "lunapool.Cluster", #name, parameters, returns, sentence);
	fputs("\n---@class lunapool.Cluster\n", f);
	POLICY_CLUSTER(FIELD, METHOD)
	fputs("\n---@class lunapool.Node\n", f);
	POLICY_NODE(FIELD, NO_METHODS)
	fputs("\n---What admit() may return.\n---@class lunapool.Admission\n", f);
	POLICY_ADMISSION(FIELD)
}

static void put_control_classes(FILE *f)
{
	fputs("\n---What a task is given.\n---@class lunapool.Task\n", f);
	POLICY_TASK(FIELD)
	fputs("\n---What has happened; its name is one of these:\n", f);
#define EVENT(name, fields, sentence) fprintf(f, "---%s (%s): %s\n", #name, fields, sentence);
	POLICY_EVENTS(EVENT)
	fputs("---@class lunapool.Event\n", f);
	POLICY_EVENT(FIELD)
	fputs("\n---What the table every has for each name.\n---@class lunapool.Every\n", f);
	POLICY_EVERY(FIELD)
	fputs("\n---What lp.sql() returns: a table for each row.\n---@class lunapool.Rows: table[]\n", f);
	POLICY_ROWS(FIELD)
	fputs("\n---What lp.hold() returns.\n---@class lunapool.Hold\n", f);
	POLICY_HOLD(FIELD)
	fputs("\n---What an operation tells its hooks.\n---@class lunapool.Operation\n", f);
	POLICY_OPERATION(FIELD)
	fputs("\n---What failover() is told.\n---@class lunapool.Failover\n", f);
	POLICY_FAILOVER(FIELD)
	fputs("\n---What returning() is told.\n---@class lunapool.Returning\n", f);
	POLICY_RETURNING(FIELD)
	fputs("\n---What lp.http() returns.\n---@class lunapool.Response\n", f);
	POLICY_RESPONSE(FIELD)
	fputs("\n---Why an action failed; tostring() gives its message.\n---@class lunapool.Error\n", f);
	POLICY_ERROR(FIELD)
}

static void put_hooks(FILE *f)
{
	fputs("\n---What a policy file returns.\n---@class lunapool.Policy\n---@field api 1 The version of all this.\n", f);
#define HOOK(name, parameters, returns, sentence) \
	fprintf(f, "---@field " #name "? fun(%s): %s %s\n", parameters, returns, sentence);
	POLICY_HOOK_TABLE(HOOK)
	POLICY_CONTROL_HOOKS(HOOK)
#define TABLE(name, type, sentence) put_field(f, #name "?", type, sentence);
	POLICY_TABLES(TABLE)
	fputs("---@field selftest? fun(): boolean?, string? Run whenever the policy is loaded; an error, or false, refuses it.\n", f);
	fputs("\n---A node, a list of nodes, or what lp.reject() and lp.wait() make.\n"
	      "---@alias lunapool.Decision lunapool.Node|lunapool.Node[]|userdata|nil\n",
	      f);
}

static void put_module(FILE *f)
{
#define FUNCTION(name, parameters, returns, sentence) put_function(f, "lp", #name, parameters, returns, sentence);
	fputs("\n---@class lunapool\nlocal lp = {}\n", f);
	POLICY_LP(FUNCTION)
	POLICY_ACTIONS(FUNCTION)
#undef FUNCTION
#define FUNCTION(name, parameters, returns, sentence) put_function(f, "lp.kv", #name, parameters, returns, sentence);
	fputs("\n---What all workers remember together, also across reloads.\nlp.kv = {}\n", f);
	POLICY_KV(FUNCTION)
#undef FUNCTION
#define FUNCTION(name, parameters, returns, sentence) put_function(f, "lp.compat", #name, parameters, returns, sentence);
	fputs("\n---For scripts of other systems.\nlp.compat = {}\n", f);
	POLICY_COMPAT(FUNCTION)
	fputs("\nreturn lp\n", f);
}

void policy_print_meta(int fd)
{
	FILE *f = fdopen(dup(fd), "w");
	fputs("---@meta lunapool\n-- What policies may use, for editors that know LuaLS's annotations.  Made by `make docs` from "
	      "include/tbl/policy.h.\n\n",
	      f);
	put_classes(f);
	put_control_classes(f);
	put_hooks(f);
	put_module(f);
	fclose(f);
}
