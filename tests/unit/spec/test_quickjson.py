import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estiva.spec import quickjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_writes_what_json_writes_and_reads_it_back(value, sort_keys):
    text = quickjson.dumps(value, sort_keys=sort_keys)
    assert text == json.dumps(value, sort_keys=sort_keys)
    assert quickjson.loads(text) == value
    assert quickjson.loads(f" \n{text}\t".encode()) == value


@given(st.text())
def test_reads_what_json_reads_and_refuses_what_it_refuses(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            quickjson.loads(text)
    else:
        assert quickjson.loads(text) == expected or expected != expected


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a" 1}', "1 2", '"\\x"', "{} x", "nul"])
def test_damage_is_a_value_error(text):
    with pytest.raises(ValueError, match="line 1 column"):
        quickjson.loads(text)


def test_damage_is_a_value_error_where_json_was_never_loaded():
    source = str(Path(quickjson.__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {source!r}); from estiva.spec.quickjson import loads\n"
        "try: loads('{\"a\": \"b')\nexcept ValueError: print('damaged')"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True)
    assert done.stdout == b"damaged\n"


def test_what_json_cannot_say_is_a_type_error():
    with pytest.raises(TypeError, match="not JSON serializable"):
        quickjson.dumps({"a": object()})


def test_it_loads_none_of_the_modules_it_is_there_to_spare():
    source = str(Path(quickjson.__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {source!r}); from estiva.spec.quickjson import loads, dumps; "
        "assert loads(dumps({'a': [1, 2.5, None]})) == {'a': [1, 2.5, None]}; "
        "assert not {'json', 're', 'enum', 'collections'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
