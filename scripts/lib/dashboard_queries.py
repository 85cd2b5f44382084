#!/usr/bin/env python3
"""Asks Prometheus each query of the dashboard, and prints those that return no number.

Usage: dashboard-queries DASHBOARD PROMETHEUS-URL

The exit code is 0 when every query returns at least one number that is not NaN.
"""
import json
import math
import sys
import urllib.parse
import urllib.request


def queries(part):
    """Yields every member `expr` of a dashboard."""
    if isinstance(part, list):
        for item in part:
            yield from queries(item)
    elif isinstance(part, dict):
        if isinstance(part.get("expr"), str):
            yield part["expr"]
        for item in part.values():
            yield from queries(item)


def ask(url, query):
    """Returns the values of a query at this moment."""
    # Grafana replaces the variable by at least four scrape intervals.
    query = query.replace("$__rate_interval", "1m")
    target = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(target, timeout=10) as answer:
        data = json.load(answer)["data"]
    return [float(series["value"][1]) for series in data["result"]]


dashboard, url = sys.argv[1:]
with open(dashboard, encoding="utf-8") as file:
    every = list(queries(json.load(file)))
assert len(every) > 50, f"only {len(every)} queries"
empty = [query for query in every if not any(not math.isnan(value) for value in ask(url, query))]
for query in empty:
    print(f"no data: {query}")
print(f"{len(every) - len(empty)} of {len(every)} queries return data")
sys.exit(1 if empty else 0)
