/*
 * A library for shared_preload_libraries that registers a custom resource manager, and a function that writes a record of it. Compiled
 * with -DUNREGISTERED it keeps the resource manager to itself: PostgreSQL logs such a record just the same.
 * The few declarations it needs of PostgreSQL 18 are made here by hand: its headers are not part of the npm package.
 */
#include <stddef.h>
#include <stdint.h>

struct magic {
	int len;
	struct {
		int version, funcmaxargs, indexmaxkeys, namedatalen, float8byval;
		char abi_extra[32];
	} abi;
	const char *name, *module_version;
};

struct rmgr {
	const char *name;
	void (*redo)(void *record);
	void (*desc)(void *buf, void *record);
	const char *(*identify)(uint8_t info);
	void (*startup)(void);
	void (*cleanup)(void);
	void (*mask)(char *page, uint32_t blkno);
	void (*decode)(void *ctx, void *buf);
};

extern void RegisterCustomRmgr(uint8_t rmid, const struct rmgr *rmgr);
extern void XLogBeginInsert(void);
extern void XLogRegisterData(const void *data, uint32_t len);
extern uint64_t XLogInsert(uint8_t rmid, uint8_t info);

enum { RMID = 129 };

#ifndef UNREGISTERED
static void redo(void *record) { (void) record; }
static void desc(void *buf, void *record) { (void) buf; (void) record; }
static const char *identify(uint8_t info) { return info == 0 ? "NOTE" : NULL; }

static const struct rmgr notes = { "test notes", redo, desc, identify, NULL, NULL, NULL, NULL };

void _PG_init(void) { RegisterCustomRmgr(RMID, &notes); }
#endif

const struct magic *Pg_magic_func(void)
{
	static const struct magic magic = { sizeof(struct magic), { 1800, 100, 32, 64, 1, "PostgreSQL" }, NULL, NULL };
	return &magic;
}

const int *pg_finfo_write_note(void)
{
	static const int api_version = 1;
	return &api_version;
}

/* write_note() returns bigint: where the record ends. */
uint64_t write_note(void *fcinfo)
{
	(void) fcinfo;
	XLogBeginInsert();
	XLogRegisterData("note", 4);
	return XLogInsert(RMID, 0);
}
