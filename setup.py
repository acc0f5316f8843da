"""Packaging. MANIFEST.in says what else the source archive holds, so that the tests can be run out of it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

VERSION = re.search(
    r"^__version__\s*(?::\s*str\s*)?=\s*[\"']([^\"']+)",
    (HERE / "vumi_turn" / "_version.py").read_text("utf-8"),
    re.MULTILINE,
).group(1)

REDIS = ["txredisapi >= 1.6"]
SENTRY = ["sentry-sdk >= 2.8"]
# Older ones read some answers otherwise than the parser in Python does.
FAST = ["httptools >= 0.6.4"]
MYPY = ["mypy ~= 2.4", "mypy-zope ~= 1.0", "types-PyYAML"]
UNIDECODE = ["Unidecode >= 1.3"]
DOCS = [
    *REDIS,
    *SENTRY,
    *UNIDECODE,
    "furo >= 2024.8",
    "sphinx >= 7.4",
    "sphinxcontrib-httpdomain >= 2.0",
    "towncrier >= 24.8",
]

setup(
    name="vumi_turn",
    version=VERSION,
    description="Connects vumi transports to Turn's Channels API.",
    long_description=(HERE / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    author="the vumi_turn developers",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # Said although it is the default: only then does "pip install -e" put this
    # folder on sys.path, where twistd looks for plugins.
    package_dir={"": "."},
    packages=find_packages(include=["vumi_turn", "vumi_turn.*"]),
    # twistd finds its commands in the folders twisted/plugins of sys.path. The
    # module is named, because the package belongs to Twisted.
    py_modules=["twisted.plugins.vumi_turn_plugin"],
    package_data={
        "vumi_turn": ["py.typed"],
        "vumi_turn.broker.amqp": ["*.xml"],
        "vumi_turn.http": ["design/*"],
        "vumi_turn.monitoring": ["page/*"],
        "vumi_turn.sandbox.page": ["static/*"],
    },
    install_requires=[
        # Older ones answer requests that came at once in the wrong order (CVE-2024-41671).
        "Twisted[tls] >= 24.7",
        "confmodel >= 0.2.0",
        "klein >= 23.5",
        "prometheus_client >= 0.17",
        "PyYAML >= 6.0",
        "treq >= 23.11",
        "txAMQP >= 0.8.2",
        "typing_extensions >= 4.4",
    ],
    extras_require={
        # What benchmarks/ compares the worker with.
        "bench": ["aio-pika >= 9.4", "aiohttp >= 3.9", "uvloop >= 0.19", "pika >= 1.3"],
        "redis": REDIS,
        "sentry": SENTRY,
        "unidecode": UNIDECODE,
        "fast": FAST,
        "docs": DOCS,
        "lint": [*MYPY, "pre-commit >= 3.5", "ruff ~= 0.17.0"],
        "test": [
            *REDIS,
            *SENTRY,
            *UNIDECODE,
            # Both parsers of HTTP are tested, and the types of the examples.
            *FAST,
            *MYPY,
            "docutils >= 0.20",
            # Older ones do not run on Python 3.14.
            "hypothesis >= 6.85",
            "pamqp >= 3.3",
            "pika >= 1.3",
            "regex >= 2023.8.8",
            "selenium >= 4.20",
            "supervisor >= 4.2",
        ],
    },
    entry_points={
        "console_scripts": [
            "vumi_turn_channel = vumi_turn.commands.channel:main",
            "vumi_turn_failures = vumi_turn.commands.failures:main",
            "vumi_turn_trace = vumi_turn.commands.trace:main",
        ],
    },
    zip_safe=False,
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Twisted",
        "Intended Audience :: Telecommunications Industry",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Communications :: Telephony",
        "Typing :: Typed",
    ],
)
