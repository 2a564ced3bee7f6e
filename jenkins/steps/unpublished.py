"""Ends with 0 if the index at PACKAGE_INDEX_URL answers and lacks the version that is given.

An index that is out of reach, or refuses TWINE_USERNAME and TWINE_PASSWORD, says nothing about the
version: that ends the step as well.
"""

import os
import re
import sys

import requests

version = sys.argv[1]
page = f"{os.environ['PACKAGE_INDEX_URL'].rstrip('/')}/learnloop/"
try:
    login = (os.environ["TWINE_USERNAME"], os.environ["TWINE_PASSWORD"])
    answer = requests.get(page, auth=login, timeout=60)
    received = f"{answer.status_code} {answer.reason}"
except requests.RequestException as fault:
    received = str(fault)
    answer = requests.Response()
if answer.status_code == requests.codes.not_found:
    sys.exit(0)
if answer.status_code != requests.codes.ok:
    sys.exit(
        f"Whether learnloop {version} is published is not known: nothing was uploaded.\n"
        f"  where:    {page}\n"
        "  expected: 200 or 404\n"
        f"  received: {received}\n"
        "  next:     see that the index answers, and that the password of the credential"
        " package-repository has not expired"
    )
if re.search(rf"\blearnloop-{re.escape(version)}(-py|\.tar\.gz)", answer.text):
    sys.exit(
        f"learnloop {version} is published already, and is never replaced.\n"
        "  next:     raise __version__ in learnloop/__init__.py, and tag that"
    )
