// npm install knex pg; node knex.mjs postgresql://postgres@127.0.0.1:5432/postgres
import knex from 'knex';

const db = knex({ client: 'pg', connection: process.argv[2], pool: { min: 0, max: 4 } });
try {
  // Migrations: up, the state of things, and down again.
  const migrations = {
    getMigrations: async () => ['001_items', '002_stock'],
    getMigrationName: (name) => name,
    getMigration: async (name) =>
      name === '001_items'
        ? {
            up: (k) =>
              k.schema.createTable('knex_item', (t) => {
                t.increments();
                t.string('name').notNullable().unique();
                t.jsonb('about');
              }),
            down: (k) => k.schema.dropTable('knex_item'),
          }
        : {
            up: (k) => k.schema.alterTable('knex_item', (t) => t.integer('stock').notNullable().defaultTo(0)),
            down: (k) => k.schema.alterTable('knex_item', (t) => t.dropColumn('stock')),
          },
  };
  const [, applied] = await db.migrate.latest({ migrationSource: migrations });
  console.log('migrated', applied.join(' '));

  await db.transaction(async (trx) => {
    await trx('knex_item').insert([
      { name: 'a', about: { colour: 'red' } },
      { name: 'b', stock: 5 },
    ]);
    await trx('knex_item').where({ name: 'a' }).increment('stock', 3);
  });
  const failed = await db
    .transaction((trx) => trx('knex_item').insert({ name: 'a' }))
    .catch((err) => err.code);
  console.log('refused', failed);
  await db('knex_item').insert({ name: 'b', stock: 7 }).onConflict('name').merge();
  console.log(
    'rows',
    JSON.stringify(
      await db('knex_item').select('name', 'stock', db.raw("about->>'colour' as colour")).orderBy('name'),
    ),
  );

  // LISTEN and NOTIFY, on one connection of the pool.
  const connection = await db.client.acquireConnection();
  const heard = new Promise((resolve) => connection.once('notification', resolve));
  await connection.query('listen knex_news');
  await db.raw("select pg_notify('knex_news', ?)", ['hello']);
  console.log('heard', (await heard).payload);
  await db.client.releaseConnection(connection);

  while ((await db.migrate.rollback({ migrationSource: migrations }))[1].length > 0);
  await db.schema.dropTable('knex_migrations').dropTable('knex_migrations_lock');
} finally {
  await db.destroy();
}
