"""ML Metadata's SQLite schema, version 10.

The names of the tables, columns and indexes, the numbers and the nine simple
types are a file format (ML Metadata, Apache License 2.0,
https://github.com/google/ml-metadata): with them its own tools read our
database.
"""

SCHEMA_VERSION = 10

# Type.type_kind.
EXECUTION, ARTIFACT, CONTEXT = 0, 1, 2
# Event.type.
INPUT_EVENT, OUTPUT_EVENT = 3, 4
# TypeProperty.data_type.
_INT_TYPE, _STRING_TYPE = 1, 3

# What every type of a kind declares; all else is a custom property.
_OWNER_PROPERTIES = {"host": _STRING_TYPE, "process": _INT_TYPE, "process_start": _STRING_TYPE}
DECLARED_PROPERTIES = {
    EXECUTION: {
        "node": _STRING_TYPE,
        "fingerprint": _STRING_TYPE,
        "code": _STRING_TYPE,
        "parameters": _STRING_TYPE,
        "error": _STRING_TYPE,
        **_OWNER_PROPERTIES,
    },
    ARTIFACT: {"digest": _STRING_TYPE, "manifest": _STRING_TYPE, "damage": _STRING_TYPE},
    CONTEXT: {
        "pipeline": _STRING_TYPE,
        "state": _INT_TYPE,
        "parameters": _STRING_TYPE,
        **_OWNER_PROPERTIES,
    },
}

_SIMPLE_TYPES = {
    ARTIFACT: ("Dataset", "Model", "Metrics", "Statistics"),
    EXECUTION: ("Train", "Transform", "Process", "Evaluate", "Deploy"),
}

_ID = "id INTEGER PRIMARY KEY AUTOINCREMENT"
_NAME = "name VARCHAR(255)"
_EXTERNAL = "external_id VARCHAR(255) UNIQUE"
_TIMESTAMP_COLUMNS = ("create_time_since_epoch", "last_update_time_since_epoch")
_DATED = f"""{_EXTERNAL},
    {_TIMESTAMP_COLUMNS[0]} INT NOT NULL DEFAULT 0,
    {_TIMESTAMP_COLUMNS[1]} INT NOT NULL DEFAULT 0,
    UNIQUE (type_id, name)"""

_TABLE_COLUMNS = {
    "MLMDEnv": "schema_version INTEGER PRIMARY KEY",
    "Type": f"""{_ID}, {_NAME} NOT NULL, version VARCHAR(255),
    type_kind TINYINT(1) NOT NULL, description TEXT, input_type TEXT,
    output_type TEXT, {_EXTERNAL}""",
    "ParentType": """type_id INT NOT NULL, parent_type_id INT NOT NULL,
    PRIMARY KEY (type_id, parent_type_id)""",
    "TypeProperty": f"""type_id INT NOT NULL, {_NAME} NOT NULL, data_type INT,
    PRIMARY KEY (type_id, name)""",
    "Artifact": f"""{_ID}, type_id INT NOT NULL, uri TEXT, state INT, {_NAME},
    {_DATED}""",
    "Execution": f"""{_ID}, type_id INT NOT NULL, last_known_state INT,
    {_NAME}, {_DATED}""",
    "Context": f"{_ID}, type_id INT NOT NULL, {_NAME} NOT NULL, {_DATED}",
    "ParentContext": """context_id INT NOT NULL,
    parent_context_id INT NOT NULL,
    PRIMARY KEY (context_id, parent_context_id)""",
    "Event": f"""{_ID}, artifact_id INT NOT NULL, execution_id INT NOT NULL,
    type INT NOT NULL, milliseconds_since_epoch INT,
    UNIQUE (artifact_id, execution_id, type)""",
    "EventPath": """event_id INT NOT NULL, is_index_step TINYINT(1) NOT NULL,
    step_index INT, step_key TEXT""",
    "Association": f"""{_ID}, context_id INT NOT NULL,
    execution_id INT NOT NULL, UNIQUE (context_id, execution_id)""",
    "Attribution": f"""{_ID}, context_id INT NOT NULL,
    artifact_id INT NOT NULL, UNIQUE (context_id, artifact_id)""",
}
_PROPERTY = f"""{{0}}_id INT NOT NULL, {_NAME} NOT NULL,
    is_custom_property TINYINT(1) NOT NULL, int_value INT,
    double_value DOUBLE, string_value TEXT, byte_value BLOB,
    proto_value BLOB, bool_value BOOLEAN,
    PRIMARY KEY ({{0}}_id, name, is_custom_property)"""
# Indexes are called idx_TABLE_COLUMN.
_INDEXES = {
    "Artifact": ("uri", "external_id", *_TIMESTAMP_COLUMNS),
    "Execution": ("external_id", *_TIMESTAMP_COLUMNS),
    "Context": ("external_id", *_TIMESTAMP_COLUMNS),
    "Event": ("execution_id",),
    "EventPath": ("event_id",),
    "ParentContext": ("parent_context_id",),
    "Type": ("name", "external_id"),
}


def build_schema_statements() -> list[str]:
    """Returns the SQL that makes an empty database."""
    statements = [f"CREATE TABLE {table} ({sql})" for table, sql in _TABLE_COLUMNS.items()]
    for table, columns in _INDEXES.items():
        for column in columns:
            name = f"idx_{table}_{column}".lower()
            statements.append(f"CREATE INDEX {name} ON {table} ({column})")
    for owner in ("artifact", "execution", "context"):
        table = f"{owner.capitalize()}Property"
        statements.append(f"CREATE TABLE {table} ({_PROPERTY.format(owner)})")
        for kind in ("int", "double", "string"):
            statements.append(
                f"CREATE INDEX idx_{owner}_property_{kind} ON {table} "
                f"(name, is_custom_property, {kind}_value) "
                f"WHERE {kind}_value IS NOT NULL"
            )
    statements.append(f"INSERT INTO MLMDEnv VALUES ({SCHEMA_VERSION})")
    for kind, names in _SIMPLE_TYPES.items():
        for name in names:
            values = f"('mlmd.{name}', {kind})"
            statements.append(f"INSERT INTO Type (name, type_kind) VALUES {values}")
    return statements
