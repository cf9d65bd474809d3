// npm install drizzle-orm pg; node drizzle.mjs postgresql://postgres@127.0.0.1:5432/postgres
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { integer, jsonb, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';

const items = pgTable('drizzle_item', {
  id: serial().primaryKey(),
  name: text().notNull().unique(),
  stock: integer().notNull().default(0),
  about: jsonb(),
  made: timestamp({ withTimezone: true }).notNull().defaultNow(),
});

const pool = new pg.Pool({ connectionString: process.argv[2] });
const db = drizzle(pool);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drizzle-'));
try {
  // A migration as drizzle-kit writes it.
  fs.mkdirSync(path.join(folder, 'meta'));
  const entries = [{ idx: 0, version: '7', when: 1, tag: '0000_items', breakpoints: true }];
  fs.writeFileSync(
    path.join(folder, 'meta/_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
  );
  fs.writeFileSync(
    path.join(folder, '0000_items.sql'),
    `create table "drizzle_item" ("id" serial primary key, "name" text not null unique, "stock" integer default 0 not null, "about" jsonb,
"made" timestamp with time zone default now() not null);`,
  );
  await migrate(db, { migrationsFolder: folder });
  await db.transaction(async (tx) => {
    await tx.insert(items).values([{ name: 'a', about: { colour: 'red' } }, { name: 'b' }]);
    await tx
      .update(items)
      .set({ stock: sql`${items.stock} + 3` })
      .where(eq(items.name, 'a'));
  });
  const failed = await db
    .transaction(async (tx) => {
      await tx.insert(items).values({ name: 'c' });
      await tx.insert(items).values({ name: 'a' });
    })
    .catch((err) => (err.cause ?? err).code);
  console.log('refused', failed);
  const rows = await db.select({ name: items.name, stock: items.stock }).from(items).orderBy(items.name);
  console.log('rows', JSON.stringify(rows));
  await pool.query('drop table drizzle_item; drop schema drizzle cascade');
} finally {
  fs.rmSync(folder, { recursive: true });
  await pool.end();
}
