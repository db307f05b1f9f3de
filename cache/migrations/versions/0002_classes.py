"""Classes of equal behaviour and their means; fingerprints, work, points and exports.

Trials pointed at measurements; now they point at the classes of these, whose statistics rest on
every observation there is. SQLite cannot alter what other tables refer to, so there the four tables
between are written anew, under the old names. Points stay empty: 0003 makes them anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Observations of equal aspect and key belong together; speeds only on one device and software.
_DEVICE = "CASE m.aspect WHEN 'speed' THEN e.device ELSE '' END"
_SOFTWARE = "CASE m.aspect WHEN 'speed' THEN e.software ELSE '' END"
_CLASS_OF = (
    f"c.aspect = m.aspect AND c.key = m.key AND c.device = {_DEVICE} AND c.software = {_SOFTWARE}"
)
# "reused" was said of what had been measured for equal settings or an equal law.
_ORIGINS = "replace(CAST(t.origins AS TEXT), '\"reused\"', '\"canonical\"')"


def upgrade() -> None:
    """Create what is new, and point measurements and trials at the classes that they make."""
    _create_classes()
    old = _rename_old_tables() if op.get_bind().dialect.name == "sqlite" else "measurements"
    op.execute(
        "INSERT INTO classes (aspect, key, device, software, split, count, fresh, seconds) "
        f"SELECT m.aspect, m.key, {_DEVICE}, {_SOFTWARE}, 0, count(*), 0, avg(m.seconds) "
        f"FROM {old} m JOIN environments e ON m.environment_id = e.id "
        f"GROUP BY m.aspect, m.key, {_DEVICE}, {_SOFTWARE} ORDER BY min(m.id)"
    )
    if op.get_bind().dialect.name == "sqlite":
        _write_anew()
    else:
        _alter()
    op.create_index("ix_measurements_class_id", "measurements", ["class_id"])
    op.create_index("ix_measurements_aspect_work", "measurements", ["aspect", "work"])
    op.create_index("ix_measurements_aspect_tokens", "measurements", ["aspect", "tokens"])
    op.create_index("ix_trials_quality_id", "trials", ["quality_id"])
    op.create_index("ix_trials_speed_id", "trials", ["speed_id"])
    _fill_means()
    _create_the_rest()


def _create_classes() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("aspect", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("software", sa.Text(), nullable=False),
        sa.Column("split", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("fresh", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_classes"),
        sa.UniqueConstraint(
            "aspect",
            "key",
            "device",
            "software",
            "split",
            name="uq_classes_aspect_key_device_software_split",
        ),
    )
    op.create_table(
        "means",
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("squares", sa.Double(), nullable=False),
        sa.Column("variance", sa.Double(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("higher", sa.Boolean(), nullable=False),
        sa.Column("comparable", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_means_class_id"),
        sa.PrimaryKeyConstraint("class_id", "name", name="pk_means"),
    )
    op.create_index("ix_means_name_mean", "means", ["name", "mean"])


def _rename_old_tables() -> str:
    """Set the old tables aside; what they refer to follows. Returns that of measurements."""
    for index, table in (
        ("ix_measurements_aspect_key", "measurements"),
        ("ix_measurements_candidate_id", "measurements"),
        ("ix_quantities_name", "quantities"),
        ("ix_trials_candidate_id", "trials"),
        ("ix_failures_trial_id", "failures"),
    ):
        op.drop_index(index, table)
    for table in ("measurements", "quantities", "trials", "failures"):
        op.rename_table(table, f"old_{table}")
    return "old_measurements"


def _write_anew() -> None:
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.String(length=32), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("aspect", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("work", sa.String(length=32), nullable=False),
        sa.Column("tokens", sa.String(length=32), nullable=False),
        sa.Column("trace", sa.String(length=32), nullable=False),
        sa.Column("fresh", sa.Boolean(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name="fk_measurements_candidate_id"
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_measurements_environment_id"
        ),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_measurements_class_id"),
        sa.PrimaryKeyConstraint("id", name="pk_measurements"),
    )
    op.execute(
        "INSERT INTO measurements (id, candidate_id, environment_id, class_id, aspect, key, work, "
        "tokens, trace, fresh, seed, seconds, detail, created) "
        "SELECT m.id, m.candidate_id, m.environment_id, c.id, m.aspect, m.key, '', '', '', 0, "
        "m.seed, m.seconds, m.detail, m.created FROM old_measurements m "
        f"JOIN environments e ON m.environment_id = e.id JOIN classes c ON {_CLASS_OF}"
    )
    op.create_table(
        "quantities",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("measurement_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("higher", sa.Boolean(), nullable=False),
        sa.Column("comparable", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["measurement_id"], ["measurements.id"], name="fk_quantities_measurement_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_quantities"),
        sa.UniqueConstraint("measurement_id", "name", name="uq_quantities_measurement_id_name"),
    )
    op.execute("INSERT INTO quantities SELECT * FROM old_quantities")
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.String(length=32), nullable=False),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("quality_id", sa.Integer()),
        sa.Column("speed_id", sa.Integer()),
        sa.Column("origins", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.id"], name="fk_trials_candidate_id"),
        sa.ForeignKeyConstraint(["quality_id"], ["classes.id"], name="fk_trials_quality_id"),
        sa.ForeignKeyConstraint(["speed_id"], ["classes.id"], name="fk_trials_speed_id"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_trials_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("study_id", "number", name="uq_trials_study_id_number"),
    )
    op.execute(
        "INSERT INTO trials (id, study_id, number, candidate_id, numbers, state, quality_id, "
        "speed_id, origins) SELECT t.id, t.study_id, t.number, t.candidate_id, t.numbers, t.state, "
        f"q.class_id, s.class_id, {_ORIGINS} FROM old_trials t "
        "LEFT JOIN measurements q ON t.quality_id = q.id "
        "LEFT JOIN measurements s ON t.speed_id = s.id"
    )
    op.create_table(
        "failures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_failures_trial_id"),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
    )
    op.execute("INSERT INTO failures SELECT * FROM old_failures")
    for table in ("failures", "trials", "quantities", "measurements"):  # nothing refers to the next
        op.drop_table(f"old_{table}")
    op.create_index("ix_measurements_aspect_key", "measurements", ["aspect", "key"])
    op.create_index("ix_measurements_candidate_id", "measurements", ["candidate_id"])
    op.create_index("ix_quantities_name", "quantities", ["name"])
    op.create_index("ix_trials_candidate_id", "trials", ["candidate_id"])
    op.create_index("ix_failures_trial_id", "failures", ["trial_id"])


def _alter() -> None:
    op.add_column("measurements", sa.Column("class_id", sa.Integer()))
    for column in ("work", "tokens", "trace"):
        text: sa.Column[str] = sa.Column(
            column, sa.String(length=32), nullable=False, server_default=""
        )
        op.add_column("measurements", text)
        op.alter_column("measurements", column, server_default=None)
    fresh: sa.Column[bool] = sa.Column(
        "fresh", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("measurements", fresh)
    op.alter_column("measurements", "fresh", server_default=None)
    op.execute(
        "UPDATE measurements AS m SET class_id = c.id FROM environments e, classes c "
        f"WHERE m.environment_id = e.id AND {_CLASS_OF}"
    )
    op.alter_column("measurements", "class_id", nullable=False)
    op.create_foreign_key(
        "fk_measurements_class_id", "measurements", "classes", ["class_id"], ["id"]
    )
    for column in ("quality_id", "speed_id"):
        op.drop_constraint(f"fk_trials_{column}", "trials")
    op.execute(
        f"UPDATE trials AS t SET origins = CAST({_ORIGINS} AS JSON), "
        "quality_id = (SELECT class_id FROM measurements WHERE id = t.quality_id), "
        "speed_id = (SELECT class_id FROM measurements WHERE id = t.speed_id)"
    )
    for column in ("quality_id", "speed_id"):
        op.create_foreign_key(f"fk_trials_{column}", "trials", "classes", [column], ["id"])


def _fill_means() -> None:
    observed = "quantities q JOIN measurements m ON q.measurement_id = m.id"
    op.execute(
        "WITH observed AS (SELECT m.class_id, q.name, count(*) AS n, avg(q.value) AS mean, "
        "avg(q.spread * q.spread) AS variance, sum(q.samples) AS samples, max(q.id) AS newest "
        f"FROM {observed} GROUP BY m.class_id, q.name), "
        "apart AS (SELECT m.class_id, q.name, sum((q.value - o.mean) * (q.value - o.mean)) "
        f"AS squares FROM {observed} JOIN observed o ON o.class_id = m.class_id "
        "AND o.name = q.name GROUP BY m.class_id, q.name) "
        "INSERT INTO means (class_id, name, count, mean, squares, variance, samples, unit, higher, "
        "comparable, detail) SELECT o.class_id, o.name, o.n, o.mean, a.squares, o.variance, "
        "o.samples, q.unit, q.higher, q.comparable, q.detail FROM observed o "
        "JOIN apart a ON a.class_id = o.class_id AND a.name = o.name "
        "JOIN quantities q ON q.id = o.newest"
    )


def _create_the_rest() -> None:
    op.create_table(
        "fingerprints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.String(length=32), nullable=False),
        sa.Column("context", sa.String(length=32), nullable=False),
        sa.Column("quality_a", sa.String(length=32), nullable=False),
        sa.Column("quality_b", sa.String(length=32), nullable=False),
        sa.Column("work_a", sa.String(length=32), nullable=False),
        sa.Column("work_b", sa.String(length=32), nullable=False),
        sa.Column("quality_key", sa.String(length=32), nullable=False),
        sa.Column("work_key", sa.String(length=32), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name="fk_fingerprints_candidate_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_fingerprints"),
        sa.UniqueConstraint("candidate_id", "context", name="uq_fingerprints_candidate_id_context"),
    )
    for column in ("quality_a", "quality_b", "work_a", "work_b"):
        op.create_index(f"ix_fingerprints_{column}", "fingerprints", [column])
    op.create_table(
        "disagreements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("measurement_id", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("split_id", sa.Integer()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("expected", sa.Double(), nullable=False),
        sa.Column("sigmas", sa.Double(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["measurement_id"], ["measurements.id"], name="fk_disagreements_measurement_id"
        ),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_disagreements_class_id"),
        sa.ForeignKeyConstraint(["split_id"], ["classes.id"], name="fk_disagreements_split_id"),
        sa.PrimaryKeyConstraint("id", name="pk_disagreements"),
    )
    op.create_index("ix_disagreements_class_id", "disagreements", ["class_id"])
    op.create_table(
        "points",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.String(length=32), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("front", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_points_study_id"),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.id"], name="fk_points_candidate_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_points_trial_id"),
        sa.PrimaryKeyConstraint("study_id", "candidate_id", name="pk_points"),
    )
    op.create_index("ix_points_study_id_x_y", "points", ["study_id", "x", "y"])
    op.create_index("ix_points_study_id_y_x", "points", ["study_id", "y", "x"])
    op.create_index("ix_points_study_id_front_x_y", "points", ["study_id", "front", "x", "y"])
    op.create_index("ix_points_trial_id", "points", ["trial_id"])
    op.create_table(
        "recordings",
        sa.Column("context", sa.String(length=32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("context", name="pk_recordings"),
    )
    op.create_table(
        "work",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_work"),
        sa.UniqueConstraint("key", name="uq_work_key"),
    )
    op.create_index("ix_work_state", "work", ["state"])
    op.create_table(
        "exports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.String(length=32), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("created", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_exports_study_id"),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name="fk_exports_candidate_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
    )
    op.create_index("ix_exports_study_id", "exports", ["study_id"])
