/** Sizes fixed by the PostgreSQL build that we serve (pg_control is checked against them at import). */
export const BLCKSZ = 8192;
export const XLOG_BLCKSZ = 8192;
/** Blocks of one relation segment file (1 GiB). */
export const RELSEG_SIZE = 131072;
export const PG_CONTROL_VERSION = 1800;
export const CATALOG_VERSION_NO = 202506291;
export const PG_MAJOR = 18;
