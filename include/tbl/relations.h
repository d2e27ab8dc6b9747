/*
 * relations — views of pg_catalog that tell of the very server that they are read on: a standby would answer, but of itself.
 *
 *   RELATION(name)     sorted
 *   RELATIONS(prefix)  all whose names begin like that
 *
 * All other relations of pg_catalog and information_schema are the same on a standby; tests/pg/reach.t looks through their definitions.
 */
#ifndef RELATION
#define RELATION(name)
#endif
#ifndef RELATIONS
#define RELATIONS(prefix)
#endif
RELATIONS("pg_stat_")
RELATIONS("pg_statio_")
RELATION("pg_aios")
RELATION("pg_available_extension_versions")
RELATION("pg_available_extensions")
RELATION("pg_backend_memory_contexts")
RELATION("pg_config")
RELATION("pg_cursors")
RELATION("pg_dsm_registry_allocations")
RELATION("pg_file_settings")
RELATION("pg_hba_file_rules")
RELATION("pg_ident_file_mappings")
RELATION("pg_locks")
RELATION("pg_prepared_statements")
RELATION("pg_prepared_xacts")
RELATION("pg_replication_origin_status")
RELATION("pg_replication_slots")
RELATION("pg_sequences")
RELATION("pg_settings")
RELATION("pg_shmem_allocations")
RELATION("pg_shmem_allocations_numa")
#undef RELATION
#undef RELATIONS
