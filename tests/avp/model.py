"""Prints the interface of Verified Permissions as botocore knows it, without its documentation.

The output is crates/ringfence-authorization/src/avp/model.json, by which every request is checked. `scenario.py`
compares the two, so that what is checked is what the SDK speaks.
"""

import json

import botocore.session

KEPT = ("type", "required", "min", "max", "pattern", "enum", "union", "exception")


def shape(raw):
    """One shape: its type and constraints, and the shapes it is made of."""
    kept = {name: raw[name] for name in KEPT if name in raw}
    if "members" in raw:
        kept["members"] = {name: member["shape"] for name, member in raw["members"].items()}
    for part in ("member", "key", "value"):
        if part in raw:
            kept[part] = raw[part]["shape"]
    return kept


def model():
    """Operations and shapes."""
    loader = botocore.session.get_session().get_component("data_loader")
    raw = loader.load_service_model("verifiedpermissions", "service-2")
    operations = {
        name: {
            "input": operation["input"]["shape"],
            "output": operation["output"]["shape"],
            "errors": [error["shape"] for error in operation["errors"]],
        }
        for name, operation in raw["operations"].items()
    }
    shapes = {name: shape(raw["shapes"][name]) for name in sorted(raw["shapes"])}
    return {"operations": operations, "shapes": shapes}


def lines(section):
    """One entry a line, so that a change of the interface is a readable difference."""
    return ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in section.items())


if __name__ == "__main__":
    found = model()
    print(f'{{\n"operations": {{\n{lines(found["operations"])}\n}},\n"shapes": {{\n{lines(found["shapes"])}\n}}\n}}')
