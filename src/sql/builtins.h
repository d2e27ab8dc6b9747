/* builtins — what a function of pg_catalog does, from its name alone (tbl/builtins.h), and words that have to be quoted. */
#ifndef SQL_BUILTINS_H
#define SQL_BUILTINS_H

#include "sql/class.h"

enum builtin {
	BUILTIN_UNKNOWN,
	BUILTIN_READ,
	BUILTIN_FRESH,
	BUILTIN_FIXED,
	BUILTIN_TIME,
	BUILTIN_WRITE,
	BUILTIN_SERVER,
	BUILTIN_XID,
	BUILTIN_LARGE,
	BUILTIN_XACT_LOCK,
	BUILTIN_SEQUENCE, /* to here nothing of the session is touched */
	BUILTIN_LOCK,
	BUILTIN_UNLOCK_ALL,
	BUILTIN_NEXTVAL,
	BUILTIN_CURRVAL,
	BUILTIN_SET_CONFIG,
	BUILTIN_OPAQUE,
};

enum builtin builtin_find(struct slice name);
const char *builtin_name(struct slice name); /* the table's own; NULL: it is not in it */
uint32_t builtin_effects(enum builtin kind); /* enum sql_effect; of set_config(): none but SQL_WRITES, since its arguments tell */
enum sql_why builtin_why(enum builtin kind); /* SQL_WHY_READ also for those that are unknown, and for set_config() */
bool builtin_is_servers_view(struct slice relation); /* tbl/relations.h */
/* Every function whose name begins like this is opaque: dblink and its kin keep connections in the session. */
bool builtin_is_dblink(struct slice name);
/* UPDATE of pg_settings is rewritten to set_config(name, value, false). */
bool builtin_is_settings_view(struct slice name);
/* Names that no harmless statement contains: the builtins that touch the session, temp, temporary, pg_temp…, dblink…, pg_settings. */
bool builtin_is_suspicious(struct slice lowered_word);
bool builtin_is_keyword(struct slice word); /* one that quote_identifier() quotes */

#endif
