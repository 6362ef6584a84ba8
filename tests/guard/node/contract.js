// node-postgres, with its pool, cursors and streams, as two tenants. Arguments: port, database, a token of acme's, one of
// globex'.
'use strict'

const assert = require('node:assert/strict')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')

const [port, database, ...tokens] = process.argv.slice(2)
const TENANTS = [
  { user: 'acme', password: tokens[0], rows: 3, other: 'globex' },
  { user: 'globex', password: tokens[1], rows: 5, other: 'acme' },
]
const about = ({ user, password }) => ({ host: '127.0.0.1', port: Number(port), database, user, password })
const INSERT = 'INSERT INTO accounts VALUES ($1, $2, $3, $4)'

async function refused(sqlstate, promise) {
  const error = await promise.then(() => assert.fail('it was not refused'), error => error)
  assert.equal(error.code, sqlstate, error.stack)
  return error
}

async function transaction(pool, work) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

async function ownRows(tenant, pool) {
  const all = await pool.query('SELECT * FROM accounts ORDER BY id')
  assert.equal(all.rowCount, tenant.rows)
  assert.ok(all.rows.every(row => row.tenant_id === tenant.user))
  const named = { name: 'by id', text: 'SELECT owner, balance FROM accounts WHERE id = $1', values: [2] }
  assert.deepEqual((await pool.query(named)).rows, [{ owner: all.rows[1].owner, balance: all.rows[1].balance }])
  const array = await pool.query('SELECT count(*) FROM accounts WHERE id = ANY($1)', [[1, 2, 99]])
  assert.equal(array.rows[0].count, '2')
}

async function writes(tenant, pool, id) {
  await transaction(pool, async client => {
    await client.query(INSERT, [tenant.user, id, "o'wner", 7])
    await client.query('SAVEPOINT s')
    await refused('42501', client.query(INSERT, [tenant.other, id, 'foreign', 7]))
    await refused('25P02', client.query('SELECT 1'))
    await client.query('ROLLBACK TO SAVEPOINT s')
  })
  await refused('42501', pool.query(INSERT, [tenant.other, id, 'foreign', 7]))
  const gone = transaction(pool, async client => {
    await client.query('DELETE FROM accounts WHERE id = $1', [id])
    await client.query('SELECT 1 / $1', [0])
  })
  await refused('22012', gone)
  const foreign = await pool.query('UPDATE accounts SET balance = 0 WHERE tenant_id = $1', [tenant.other])
  assert.equal(foreign.rowCount, 0)
  const deleted = await pool.query('DELETE FROM accounts WHERE id = $1 RETURNING owner', [id])
  assert.deepEqual(deleted.rows, [{ owner: "o'wner" }])
}

async function large(pool) {
  const sql = 'SELECT n, repeat($1, 20) AS text FROM generate_series(1, 200000) n'
  const streaming = await pool.connect()
  let sum = 0
  for await (const row of streaming.query(new QueryStream(sql, ['x'], { batchSize: 1000 }))) sum += row.n
  assert.equal(sum, 20000100000)
  const cursor = streaming.query(new Cursor(sql, ['y']))
  assert.equal((await cursor.read(10)).length, 10)
  assert.equal((await cursor.read(10))[9].n, 20)
  await cursor.close()
  streaming.release()
}

async function turnedAway(tenant, other) {
  for (const password of [other.password, tenant.password + 'x', 'secret']) {
    const client = new Client({ ...about(tenant), password })
    const error = await refused('28000', client.connect())
    assert.match(error.detail, /^layer=guard reason=\w+ reference=/)
    assert.ok(error.message.length > 0 && error.hint.length > 0)
  }
}

// More clients than there are connections to Postgres; those of both tenants have them in turn.
async function shared(pools) {
  const held = await Promise.all([0, 1, 0, 1, 0, 1].map(async at => [TENANTS[at], await pools[at].connect()]))
  for (let round = 0; round < 8; round++) {
    await Promise.all(held.map(async ([tenant, client]) => {
      const named = { name: 'count', text: 'SELECT count(*)::int AS n FROM accounts WHERE id > $1', values: [0] }
      assert.equal((await client.query(named)).rows[0].n, tenant.rows)
    }))
  }
  held.forEach(([, client]) => client.release())
}

// A pool for whoever's token is given.
async function used() {
  const pool = new Pool({ ...about(TENANTS[0]), max: 2 })
  for (let round = 0; round < 8; round++) {
    const tenant = TENANTS[round % 2]
    const client = await pool.connect()
    await client.query('SELECT ringfence.token_use($1, $2)', [tenant.user, tenant.password])
    await client.query('BEGIN')
    assert.equal((await client.query('SELECT * FROM accounts')).rowCount, tenant.rows)
    await client.query('COMMIT')
    client.release()
  }
  await pool.end()
}

async function settings(tenant) {
  const client = new Client({ ...about(tenant), options: '-c TimeZone=Asia/Tokyo -c intervalstyle=iso_8601' })
  await client.connect()
  for (let round = 0; round < 3; round++) {
    const sql = "SELECT current_setting('TimeZone') AS zone, current_setting('IntervalStyle') AS style"
    assert.deepEqual((await client.query(sql)).rows, [{ zone: 'Asia/Tokyo', style: 'iso_8601' }])
  }
  await client.end()
}

async function main() {
  const pools = TENANTS.map(tenant => new Pool({ ...about(tenant), max: 4 }))
  await shared(pools)
  await used()
  for (const [at, tenant] of TENANTS.entries()) {
    await ownRows(tenant, pools[at])
    await Promise.all([writes(tenant, pools[at], 90), writes(tenant, pools[at], 91)])
    await large(pools[at])
    await turnedAway(tenant, TENANTS[1 - at])
    await settings(tenant)
  }
  await Promise.all(pools.map(pool => pool.end()))
  // One that leaves in the middle of a transaction, and without a word.
  const client = new Client(about(TENANTS[0]))
  await client.connect()
  await client.query('BEGIN')
  await client.query(INSERT, ['acme', 95, 'unfinished', 1])
  process.exit(0)
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
