import re

import claude_api
from claude_api import errors


def exceptions() -> list[type]:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in classes if issubclass(each, Exception)]


def test_the_tree_in_the_docstring_is_the_tree():
    drawn, path = {}, []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)(?:  .*)?$", line):
            depth = line.index(match[2]) // 4
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1] if depth else "Exception"
    assert drawn == {each.__name__: each.__base__.__name__ for each in exceptions()}


def test_every_error_is_exported_and_the_list_is_sorted():
    assert {each.__name__ for each in exceptions()} <= set(claude_api.__all__)
    assert claude_api.__all__ == sorted(claude_api.__all__)
