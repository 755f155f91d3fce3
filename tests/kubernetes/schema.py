"""Checks objects against the structural part of OpenAPI v3 that Kubernetes' CRDs use.

`python3 schema.py SCHEMA FILE` checks a JSON file; SCHEMA is mpijob.json beside this file (the parts that syncbn
writes, unknown fields are errors) or the YAML file of a CRD as Kubeflow has it (needs PyYAML). Prints what is wrong and
returns 1 then.
"""
import json
import re
import sys

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}


def of_type(value, kind):
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])


def problems(schema, value, path=""):
    """What of the value the schema does not allow, as texts that begin with a path."""
    where = path or "the object"
    if schema.get("x-kubernetes-int-or-string"):
        return [] if isinstance(value, (int, str)) else [f"{where}: must be an integer or a string"]
    kind = schema.get("type")
    if kind and not of_type(value, kind):
        return [f"{where}: must be of type {kind}, not {json.dumps(value)[:60]}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: must be one of {schema['enum']}, not {value!r}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} does not match {schema['pattern']}")
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        found.append(f"{where}: longer than {schema['maxLength']}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{where}: must be {schema['minimum']} at least, not {value}")
    if "maximum" in schema and value > schema["maximum"]:
        found.append(f"{where}: must be {schema['maximum']} at most, not {value}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties")
        free = schema.get("x-kubernetes-preserve-unknown-fields") or not known and others is None
        for name in schema.get("required", []):
            if name not in value:
                found.append(f"{where}: needs {name}")
        for name, item in value.items():
            if name in known:
                found += problems(known[name], item, f"{path}.{name}")
            elif isinstance(others, dict):
                found += problems(others, item, f"{path}.{name}")
            elif not free:
                found.append(f"{where}: unknown field {name}")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{where}: needs {schema['minItems']} entries at least")
        for index, item in enumerate(value):
            found += problems(schema.get("items", {}), item, f"{path}[{index}]")
    return found


def load(path):
    """A schema file of ours, or that of v2beta1 in a file with CRDs."""
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            return resolved(json.load(file))
    import yaml
    with open(path, encoding="utf-8") as file:
        for document in yaml.safe_load_all(file):
            if document and document.get("kind") == "CustomResourceDefinition":
                for version in document["spec"]["versions"]:
                    if version["name"] == "v2beta1":
                        schema = version["schema"]["openAPIV3Schema"]
                        # The API server's own, which CRDs leave out.
                        schema["properties"]["metadata"] = {"type": "object"}
                        return schema
    raise SystemExit(f"{path} has no CRD with the version v2beta1")


def resolved(schema):
    """With {"$ref": NAME} replaced by the entry of "definitions"."""
    definitions = schema.get("definitions", {})

    def replace(node):
        if isinstance(node, dict):
            if "$ref" in node:
                return replace(definitions[node["$ref"]])
            return {key: replace(item) for key, item in node.items() if key != "definitions"}
        return [replace(item) for item in node] if isinstance(node, list) else node

    return replace(schema)


if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8") as text:
        wrong = problems(load(sys.argv[1]), json.load(text))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)
