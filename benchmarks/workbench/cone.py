"""Cones and exports over a catalogue of a million objects.

    python -m benchmarks.workbench.cone [--objects 1000000] [--cones 100] [--postgres URL]

Fills a data base of its own (SQLite in a temporary folder, or the empty PostgreSQL data base that
is named), starts the product's web server on it, asks all cones at once over HTTP and compares
every answer with a search by brute force; then writes every object in each format, each in a
process of its own, and prints seconds and the peak of its memory. One line of JSON a figure.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

BATCH = 20_000
FORMATS = ("csv", "ecsv", "votable", "fits", "parquet")
#: Room for the answer, and for a server that has to start.
PATIENCE_S = 300.0


def main() -> None:
    """Fill, ask, export, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--cones", type=int, default=100)
    parser.add_argument("--postgres", default="", help="URL of an empty data base.")
    parser.add_argument("--export", choices=FORMATS, help="Only write one format here.")
    options = parser.parse_args()
    if options.export:
        print(json.dumps(measure_export(options.export)))
        return
    with tempfile.TemporaryDirectory(prefix="astrid-bench-") as folder:
        os.environ |= {"ASTRID_DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "astrid_site.settings"}
        os.environ |= {"DATABASE_URL": options.postgres} if options.postgres else {}
        key, ra, dec = fill(options.objects)
        with server() as port:
            print(json.dumps(ask_cones(port, key, ra=ra, dec=dec, n_cones=options.cones)))
            print(json.dumps(ask_searches(port, key)))
        for name in FORMATS:
            command = [sys.executable, "-m", "benchmarks.workbench.cone", "--export", name]
            subprocess.run(command, check=True)


def fill(n_objects: int) -> tuple[str, np.ndarray, np.ndarray]:
    """A catalogue all over the sky, with crowds at the pole and over RA 0; a key to ask with."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from astrid_site.accounts.models import User
    from astrid_site.accounts.services import create_api_key

    rng = np.random.default_rng(17)
    ra = rng.uniform(0, 360, n_objects)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n_objects)))
    crowd = n_objects // 50
    dec[:crowd] = 90.0 - np.abs(rng.normal(0, 0.5, crowd))
    ra[crowd : 2 * crowd] = rng.normal(0, 0.5, crowd) % 360
    dec[crowd : 2 * crowd] = rng.normal(0, 0.5, crowd)
    began = time.perf_counter()
    for first in range(0, n_objects, BATCH):
        insert(rng, ra, dec, first=first)
    user = User.objects.create_superuser("bench", password=None)
    _, secret = create_api_key(user, name="bench", can_write=False)
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"filled": n_objects, "seconds": seconds}))
    return secret, ra, dec


def insert(rng: np.random.Generator, ra: np.ndarray, dec: np.ndarray, *, first: int) -> None:
    """One batch of rows."""
    from datetime import UTC, datetime, timedelta
    from uuid import UUID

    from django.db import connection, transaction

    from astrid_site.imaging.healpix import nested_indices
    from catalog.algorithms.naming import object_name

    start, rows = datetime(2020, 1, 1, tzinfo=UTC), slice(first, first + BATCH)
    cells, n = nested_indices(ra[rows], dec[rows]), len(ra[rows])
    days, magnitudes, scores = rng.uniform(0, 2000, n), rng.uniform(14, 22, n), rng.uniform(size=n)
    is_sqlite = connection.vendor == "sqlite"
    keys = [UUID(bytes=rng.bytes(16)) for _ in range(n)]
    at = [start + timedelta(days=days[i]) for i in range(n)]
    later = [when + timedelta(days=20) for when in at]
    told = [
        {
            "id": keys[i].hex if is_sqlite else keys[i],
            "created_at": str(at[i]),
            "name": f"{object_name(ra[first + i], dec[first + i])}-{first + i}"[-40:],
            "ra": float(ra[first + i]),
            "dec": float(dec[first + i]),
            "healpix14": int(cells[i]),
            "state": "confirmed" if scores[i] > 0.99 else "candidate",
            "classification": "SN" if scores[i] > 0.99 else "",
            "n_detections": 1,
            "first_detected_at": str(at[i]),
            "last_detected_at": str(later[i]),
            "peak_score": float(5 + 20 * scores[i]),
            "best_real_bogus": float(scores[i]),
            "brightest_magnitude": float(magnitudes[i]),
            "is_simulated": False,
        }
        for i in range(n)
    ]
    names = ", ".join(told[0])
    marks = ", ".join(["%s"] * len(told[0]))
    with transaction.atomic(), connection.cursor() as cursor:
        statement = f"INSERT INTO catalog_astroobject ({names}) VALUES ({marks})"
        cursor.executemany(statement, [tuple(row.values()) for row in told])


@contextmanager
def server() -> Iterator[int]:
    """The product's web server on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "uvicorn", "astrid_site.asgi:application", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port), "--log-level", "warning"]
    )
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(port: int) -> None:
    """Return when the server answers."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise TimeoutError("the server does not listen")


def ask(port: int, key: str, *, path: str, query: dict[str, Any]) -> tuple[float, Any]:
    """Seconds and the answer of one request."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    address = f"{path}?{urlencode(query)}"
    connection.request("GET", address, headers={"Authorization": f"Key {key}", "Host": "localhost"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{address}: {answer.status} {body[:300]!r}")
    return time.perf_counter() - began, json.loads(body)


def cones(n: int) -> list[dict[str, float]]:
    """Centres all over the sky, on the poles and over RA 0; radii from 5 arcsec to 1 degree."""
    rng = np.random.default_rng(23)
    special = [(0.0, 90.0), (123.0, 89.9), (77.0, -90.0), (0.0, 0.0), (359.99, 0.2), (0.01, -0.3)]
    drawn = zip(rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n))), strict=True)
    centres = [*special, *drawn][:n]
    radii = 10 ** rng.uniform(np.log10(5), np.log10(3600), n)
    radii[: len(special)] = 600.0
    return [
        {"ra": ra, "dec": dec, "radius_arcsec": r, "limit": 1000}
        for (ra, dec), r in zip(centres, radii, strict=True)
    ]


def ask_cones(
    port: int, key: str, *, ra: np.ndarray, dec: np.ndarray, n_cones: int
) -> dict[str, Any]:
    """All cones at once, every answer against brute force."""
    from astrid_site.imaging.healpix import separation_arcsec

    asked = cones(n_cones)
    ask(port, key, path="/api/v1/objects/cone/", query=asked[0])
    with ThreadPoolExecutor(n_cones) as pool:
        told = list(
            pool.map(lambda q: ask(port, key, path="/api/v1/objects/cone/", query=q), asked)
        )
    n_wrong = n_found = 0
    for query, (_, rows) in zip(asked, told, strict=True):
        apart = separation_arcsec(query["ra"], query["dec"], ra, dec)
        inside = np.flatnonzero(apart <= query["radius_arcsec"])
        expected = inside[np.argsort(apart[inside], kind="stable")][: query["limit"]]
        found = [int(row["name"].rsplit("-", 1)[1]) for row in rows]
        n_found += len(found)
        n_wrong += found != [int(i) for i in expected]
    seconds = np.array([s for s, _ in told])
    return {
        "what": "cones at once",
        "n": n_cones,
        "wrong": n_wrong,
        "objects_found": n_found,
        "p50_s": round(float(np.quantile(seconds, 0.5)), 3),
        "p99_s": round(float(np.quantile(seconds, 0.99)), 3),
        "max_s": round(float(seconds.max()), 3),
    }


def ask_searches(port: int, key: str) -> dict[str, Any]:
    """Seconds of one search of each kind, alone."""
    asked: dict[str, dict[str, Any]] = {
        "newest": {},
        "word, rare": {"q": "J123456"},
        "class": {"classification": "SN"},
        "magnitude, rare": {"max_magnitude": 14.001},
        "time": {"since": "2024-01-01T00:00:00Z", "until": "2024-01-20T00:00:00Z"},
        "box over RA 0": {"ra_min": 358, "ra_max": 2, "dec_min": -2, "dec_max": 2},
        "polygon of 10 degrees": {"polygon": "10 10, 20 10, 20 20, 10 20"},
        "half the sky": {"dec_min": 0},
    }
    seconds = {
        name: round(ask(port, key, path="/api/v1/objects/search/", query=query)[0], 3)
        for name, query in asked.items()
    }
    return {"what": "searches, first page", "seconds": seconds} | {"deep": deep_page(port, key)}


def deep_page(port: int, key: str) -> float:
    """Seconds of a page that half a million rows come before."""
    from astrid_site.core.keyset import encode_cursor
    from catalog.models import AstroObject

    count = AstroObject.objects.count()
    row = AstroObject.objects.order_by("-last_detected_at")[count // 2]
    cursor = encode_cursor(row.last_detected_at, row.pk)
    query = {"cursor": cursor}
    return round(ask(port, key, path="/api/v1/objects/search/", query=query)[0], 3)


def measure_export(name: str) -> dict[str, Any]:
    """Seconds, rows, bytes and the peak memory of this whole process, imports included."""
    import django

    django.setup()
    from catalog.algorithms.object_search import ObjectSearch
    from catalog.algorithms.table_files import FORMATS as KINDS
    from catalog.services import export_objects

    began, used = time.perf_counter(), time.process_time()
    table = export_objects(ObjectSearch(), KINDS[name])
    seconds, used = time.perf_counter() - began, time.process_time() - used
    table.file.close()
    return {
        "what": f"export {name}",
        "rows": table.n_rows,
        "megabytes": round(table.size / 1e6, 1),
        "seconds": round(seconds, 1),
        # on a busy machine only this says what the code costs
        "cpu_seconds": round(used, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0),
    }


if __name__ == "__main__":
    if Path.cwd() != Path(__file__).resolve().parents[2]:
        sys.exit("run it from the repository's root")
    main()
