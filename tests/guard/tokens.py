"""Pools of real drivers that serve two tenants, a token for each transaction. Arguments: port, database, a token of acme's,
one of globex'."""

import asyncio
import sys

import asyncpg
import psycopg
from psycopg_pool import ConnectionPool

port, database = sys.argv[1:3]
TOKENS = dict(zip(("acme", "globex"), sys.argv[3:5]))
ROWS = {"acme": 3, "globex": 5}
COUNT = "SELECT count(*) FROM accounts WHERE id > "
USE = "SELECT ringfence.token_use(%s, %s)"


def refused(sqlstate, statement):
    try:
        statement()
    except psycopg.Error as error:
        assert error.sqlstate == sqlstate, error
    else:
        raise AssertionError("it was not refused")


def with_psycopg():
    name = f"host=127.0.0.1 port={port} dbname={database} user=acme password={TOKENS['acme']}"
    with ConnectionPool(name, min_size=1, max_size=2, kwargs={"autocommit": True}) as pool:
        # From the fifth time on they are prepared.
        for tenant in ["acme", "globex"] * 10:
            with pool.connection() as connection:
                assert connection.execute(USE, (tenant, TOKENS[tenant])).fetchone() == (tenant,)
                with connection.transaction():
                    assert connection.execute(COUNT + "%s", (0,)).fetchone() == (ROWS[tenant],)
        with pool.connection() as connection:
            binary = connection.cursor(binary=True)
            assert binary.execute("SELECT ringfence.token_use(%b, %b)", ("globex", TOKENS["globex"])).fetchone() == ("globex",)
            with connection.pipeline() as pipeline:
                used = connection.execute(USE, ("acme", TOKENS["acme"]))
                pipeline.sync()
                count = connection.execute(COUNT + "%s", (0,))
            assert (used.fetchone(), count.fetchone()) == (("acme",), (3,))
            refused("28000", lambda: connection.execute(USE, ("globex", TOKENS["acme"])))
            refused("28000", lambda: connection.execute(COUNT + "0"))
            connection.execute(USE, ("globex", TOKENS["globex"]))
            connection.execute("BEGIN")
            refused("25001", lambda: connection.execute(USE, ("acme", TOKENS["acme"])))
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            refused("28000", lambda: connection.execute(COUNT + "0"))
            connection.execute(USE, ("acme", TOKENS["acme"]))
            assert connection.execute(COUNT + "0").fetchone() == (3,)


async def with_asyncpg():
    about = {"host": "127.0.0.1", "port": port, "database": database, "user": "acme", "password": TOKENS["acme"]}
    async with asyncpg.create_pool(**about, min_size=1, max_size=1) as pool:
        for tenant in ["acme", "globex"] * 4:
            async with pool.acquire() as connection:
                assert await connection.fetchval("SELECT ringfence.token_use($1, $2)", tenant, TOKENS[tenant]) == tenant
                async with connection.transaction():
                    assert await connection.fetchval(COUNT + "$1", 0) == ROWS[tenant]


with_psycopg()
asyncio.run(with_asyncpg())
