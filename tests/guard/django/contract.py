"""Django's ORM as two tenants. Arguments: port, database, a token of acme's, one of globex'."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.conf import settings

PORT, DATABASE, *TOKENS = sys.argv[1:]
ROWS = {"acme": 3, "globex": 5}
OTHER = {"acme": "globex", "globex": "acme"}


def about(tenant, token, **changed):
    options = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True, **changed}
    return {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": PORT, "NAME": DATABASE,
            "USER": tenant, "PASSWORD": token, **options}


DATABASES = {"default": {}}
for name, given in zip(ROWS, TOKENS):
    DATABASES[name] = about(name, given)
    DATABASES[name + "_pool"] = about(
        name, given, CONN_MAX_AGE=0, OPTIONS={"pool": {"min_size": 3, "max_size": 5, "timeout": 20}})
    DATABASES[name + "_server"] = about(
        name, given, OPTIONS={"server_side_binding": True, "options": "-c TimeZone=Asia/Tokyo"}, TIME_ZONE="Asia/Tokyo")
    DATABASES[name + "_zone"] = about(name, given, TIME_ZONE="Asia/Tokyo")
    for number, wrong in enumerate((TOKENS[1 - TOKENS.index(given)], given + "x", "secret")):
        DATABASES[f"{name}_wrong_{number}"] = about(name, wrong)
settings.configure(DATABASES=DATABASES, INSTALLED_APPS=["django.contrib.contenttypes"], USE_TZ=True)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import (  # noqa: E402
    DatabaseError, DataError, OperationalError, ProgrammingError, connections, models, transaction)


class Account(models.Model):
    pk = models.CompositePrimaryKey("tenant_id", "id")
    tenant_id = models.TextField()
    id = models.IntegerField()
    owner = models.TextField()
    balance = models.BigIntegerField()

    class Meta:
        app_label = "contract"
        managed = False
        db_table = "accounts"


def refused(sqlstate, kind, statement):
    try:
        statement()
    except kind as error:
        assert error.__cause__.sqlstate == sqlstate, error
        return str(error)
    raise AssertionError("it was not refused")


def one(using, sql):
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def turns(work):
    """One thread of more than there are connections to Postgres."""
    using, tenant = work
    try:
        for _ in range(12):
            assert Account.objects.using(using).filter(id__gt=0).count() == ROWS[tenant]
            with transaction.atomic(using=using):
                assert {account.tenant_id for account in Account.objects.using(using)} == {tenant}
            assert one(using, "SHOW TimeZone") == connections[using].timezone_name
    finally:
        # A thread's connections are its own.
        connections.close_all()


def shared(suffix):
    work = [(tenant + suffix, tenant) for _ in range(3) for tenant in ROWS]
    with ThreadPoolExecutor(len(work)) as threads:
        list(threads.map(turns, work))


def writes(using, tenant):
    accounts = Account.objects.using(using)
    foreign = {"tenant_id": OTHER[tenant], "id": 91, "owner": "foreign", "balance": 1}
    own = accounts.create(tenant_id=tenant, id=90, owner="o'wner", balance=7)
    with transaction.atomic(using=using):
        own.balance = 8
        own.save(using=using)

        def inner():
            with transaction.atomic(using=using):
                accounts.create(**foreign)

        refused("42501", ProgrammingError, inner)
        assert accounts.get(id=90).balance == 8
    refused("42501", ProgrammingError, lambda: accounts.create(**foreign))
    assert accounts.filter(tenant_id=OTHER[tenant]).update(balance=0) == 0

    def gone():
        with transaction.atomic(using=using):
            accounts.filter(id=90).delete()
            one(using, "SELECT 1 / 0")

    refused("22012", DataError, gone)
    accounts.bulk_create(
        [Account(tenant_id=tenant, id=id, owner="many", balance=id) for id in range(1000, 1300)], batch_size=100)
    assert accounts.filter(id__gte=90).delete()[0] == 301
    assert accounts.count() == ROWS[tenant]


def streams(using, tenant):
    """Server-side cursors: in a transaction, and outside with one that is held."""
    accounts = Account.objects.using(using)
    for _ in range(3):
        with transaction.atomic(using=using):
            assert [account.tenant_id for account in accounts.iterator(chunk_size=2)] == [tenant] * ROWS[tenant]
        assert [account.tenant_id for account in accounts.iterator(chunk_size=2)] == [tenant] * ROWS[tenant]
    with transaction.atomic(using=using), connections[using].chunked_cursor() as cursor:
        cursor.execute("SELECT n, repeat('x', 20) FROM generate_series(1, 200000) n")
        assert sum(row[0] for row in cursor) == 20000100000


def connects(using, tenant):
    """What the test suite asks of a connection."""
    connection = connections[using]
    connection.ensure_connection()
    assert connection.is_usable()
    connection.close_if_unusable_or_obsolete()
    assert set(connection.introspection.table_names()) == {"accounts", "payments", "staging"}
    assert connection.features.supports_transactions and connection.pg_version >= 150000
    with connection.cursor() as cursor:
        assert connection.introspection.get_primary_key_columns(cursor, "accounts") == ["tenant_id", "id"]
    connection.close()
    assert Account.objects.using(using).count() == ROWS[tenant]


def turned_away(tenant):
    for number in range(3):
        try:
            Account.objects.using(f"{tenant}_wrong_{number}").count()
        except OperationalError as error:
            assert "layer=guard reason=" in str(error) and "HINT" in str(error), error
        else:
            raise AssertionError("it was not turned away")


def main():
    for suffix in ("", "_server", "_zone", "_pool"):
        shared(suffix)
        for tenant in ROWS:
            writes(tenant + suffix, tenant)
            streams(tenant + suffix, tenant)
            connects(tenant + suffix, tenant)
            connections[tenant + suffix].close()
        if suffix == "_pool":
            for tenant in ROWS:
                connections[tenant + suffix].close_pool()
    for tenant in ROWS:
        turned_away(tenant)
    try:
        call_command("migrate", database="acme", verbosity=0)
    except DatabaseError as error:
        assert "permission denied for schema public" in str(error), error
    else:
        raise AssertionError("a tenant has migrated")
    # One that leaves in the middle of a transaction, and without a word.
    transaction.set_autocommit(False, using="acme")
    Account.objects.using("acme").create(tenant_id="acme", id=95, owner="unfinished", balance=1)
    os._exit(0)


main()
