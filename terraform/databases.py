"""Makes a role and a database of its own for each URL, as the master of a PostgreSQL on AWS.

Standard input is a JSON list of secrets' texts, each a JSON object: one with the master's
``username`` and ``password``, the others with URLs among their fields. Nothing secret is in the
command line. Done again, it sets the passwords anew and leaves the databases as they are.
See docs/provisioning.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password
from sqlalchemy import URL, make_url


def make_databases(texts: Iterable[str]) -> list[str]:
    """Make the databases that URLs name, each owned by the URL's user.

    Args:
        texts: The secrets' texts.

    Returns:
        The databases' names.
    """
    secrets = [json.loads(text) for text in texts]
    masters = [secret for secret in secrets if {"username", "password"} <= secret.keys()]
    urls = [
        make_url(value)
        for secret in secrets
        for value in secret.values()
        if str(value).startswith("postgresql")
    ]
    if len(masters) != 1 or not urls:
        raise SystemExit(
            "These are not the secrets that databases are made of.\n"
            "  expected: one with username and password, and some with URLs of PostgreSQL\n"
            f"  received: {len(masters)} with username and password, {len(urls)} URLs\n"
            "  next:     see docs/provisioning.md"
        )
    for url in urls:
        _make_database(url, masters[0])
    return [str(url.database) for url in urls]


def _make_database(url: URL, master: Mapping[str, str]) -> None:
    connection = psycopg2.connect(
        host=url.host,
        port=url.port,
        dbname="postgres",
        user=master["username"],
        password=master["password"],
        **url.query,
    )
    connection.autocommit = True
    names = {
        "role": sql.Identifier(str(url.username)),
        "database": sql.Identifier(str(url.database)),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [url.username])
        verb = sql.SQL("ALTER" if cursor.rowcount else "CREATE")
        statement = sql.SQL("{verb} ROLE {role} LOGIN PASSWORD %s").format(verb=verb, **names)
        # Servers log statements that fail or take long: this one has no password in it.
        verifier = encrypt_password(url.password, url.username, cursor, "scram-sha-256")
        cursor.execute(statement, [verifier])
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [url.database])
        if not cursor.rowcount:
            # The master on AWS is no superuser: it may only give to a role that it is a member of.
            cursor.execute(sql.SQL("GRANT {role} TO CURRENT_USER").format(**names))
            cursor.execute(sql.SQL("CREATE DATABASE {database} OWNER {role}").format(**names))
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
    connection.close()


if __name__ == "__main__":
    print("\n".join(make_databases(json.load(sys.stdin))))
