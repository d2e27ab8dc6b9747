/*
 * extensions — extensions whose functions in C leave nothing behind in the session, and their functions that do.
 *
 *   HARMLESS(name)           none of its functions is opaque …
 *   OPAQUE(name, function)   … except this one: it sets something, keeps something, or runs a text
 *
 * Functions in C of all other extensions, and of none, are opaque.  Sorted by name.
 */
#ifndef HARMLESS
#define HARMLESS(name)
#endif
#ifndef OPAQUE
#define OPAQUE(name, function)
#endif
HARMLESS("address_standardizer")
HARMLESS("amcheck")
HARMLESS("autoinc")
HARMLESS("bloom")
HARMLESS("btree_gin")
HARMLESS("btree_gist")
HARMLESS("citext")
HARMLESS("cube")
HARMLESS("dict_int")
HARMLESS("dict_xsyn")
HARMLESS("earthdistance")
HARMLESS("file_fdw")
HARMLESS("fuzzystrmatch")
HARMLESS("h3")
HARMLESS("h3_postgis")
HARMLESS("hll")
HARMLESS("hstore")
HARMLESS("insert_username")
HARMLESS("intagg")
HARMLESS("intarray")
HARMLESS("ip4r")
HARMLESS("isn")
OPAQUE("isn", "isn_weak") /* sets how numbers are read */
HARMLESS("lo")
HARMLESS("ltree")
HARMLESS("moddatetime")
HARMLESS("mysql_fdw")
HARMLESS("old_snapshot")
HARMLESS("pageinspect")
HARMLESS("pg_bigm")
OPAQUE("pg_bigm", "set_limit")
HARMLESS("pg_buffercache")
HARMLESS("pg_freespacemap")
HARMLESS("pg_prewarm")
HARMLESS("pg_stat_kcache")
HARMLESS("pg_stat_statements")
HARMLESS("pg_surgery")
HARMLESS("pg_trgm")
OPAQUE("pg_trgm", "set_limit") /* pg_trgm.similarity_threshold */
HARMLESS("pg_uuidv7")
HARMLESS("pg_visibility")
HARMLESS("pg_wait_sampling")
HARMLESS("pg_walinspect")
HARMLESS("pgaudit")
HARMLESS("pgcrypto")
HARMLESS("pgrowlocks")
HARMLESS("pgstattuple")
HARMLESS("plpgsql")
HARMLESS("postgis")
HARMLESS("postgis_raster")
HARMLESS("postgis_sfcgal")
HARMLESS("postgis_topology")
HARMLESS("postgres_fdw")
HARMLESS("prefix")
HARMLESS("refint")
HARMLESS("rum")
HARMLESS("seg")
HARMLESS("semver")
HARMLESS("sslinfo")
HARMLESS("tablefunc")
OPAQUE("tablefunc", "connectby")
OPAQUE("tablefunc", "crosstab") /* and crosstab2 …: they run a text */
OPAQUE("tablefunc", "crosstab2")
OPAQUE("tablefunc", "crosstab3")
OPAQUE("tablefunc", "crosstab4")
HARMLESS("tcn")
HARMLESS("tds_fdw")
HARMLESS("temporal_tables")
OPAQUE("temporal_tables", "set_system_time")
HARMLESS("timescaledb")
OPAQUE("timescaledb", "timescaledb_post_restore")
OPAQUE("timescaledb", "timescaledb_pre_restore") /* timescaledb.restoring */
HARMLESS("tsm_system_rows")
HARMLESS("tsm_system_time")
HARMLESS("unaccent")
HARMLESS("uuid-ossp")
HARMLESS("vector")
HARMLESS("xml2")
OPAQUE("xml2", "xpath_table") /* runs a text */
#undef HARMLESS
#undef OPAQUE
