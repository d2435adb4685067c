"""Creates Kafka's topics from the manifest, and compares existing topics with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from shared.events.topics import Topic
from shared.kafka.clients import connected_admin

_MAX_REPLICAS = 3
"""A topic has as many replicas as there are brokers, up to this number."""


_MIN_IN_SYNC = "min.insync.replicas"
_TOPIC_SOURCE = 1
"""Kafka's code for a setting that was given to the topic itself, rather than to the brokers."""


@dataclass(frozen=True, slots=True)
class TopicLayout:
    """How many partitions a topic in Kafka has, and the lowest number of replicas of any of them."""

    partitions: int
    replicas: int


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """The settings of a topic in Kafka, by Kafka's names: all that are in force, and those set for the topic itself."""

    effective: Mapping[str, str]
    own: Mapping[str, str]


async def missing_topics(bootstrap: str, names: Sequence[str]) -> list[str]:
    """Return which of the topics `names` Kafka does not have, in the order of `names`; empty if it has all.

    The names are full names. `bootstrap` names the Kafka servers. Raises BrokerUnavailable.
    """
    async with connected_admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
    return [name for name in names if name not in existing]


async def apply_topics(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, str]:
    """Create the missing topics of `manifest` in Kafka, and correct the settings of the existing ones.

    `bootstrap` names the Kafka servers; `prefix` comes before each topic's name. Settings that the manifest does not
    name stay as they are. Return, by the topic's full name, "created", "configured" if settings were changed, or
    "unchanged". Raises BrokerUnavailable.
    """
    topics = {f"{prefix}{topic.name}": topic for topic in manifest}
    async with connected_admin(bootstrap) as admin:
        missing = topics.keys() - set(await admin.list_topics())
        replicas = await _wanted_replicas(admin)
        for name in sorted(missing):
            await _create(admin, name, topics[name], replicas)
        existing = sorted(topics.keys() - missing)
        layouts, configs = await _layouts(admin, existing), await topic_configs(admin, existing)
        changes = {name: config_changes(topics[name], layouts[name], configs[name]) for name in existing}
        await _configure(admin, {name: {**configs[name].own, **changes[name]} for name in existing if changes[name]})
    outcomes = {name: "configured" if changes[name] else "unchanged" for name in existing}
    return {name: outcomes.get(name, "created") for name in topics}


async def _wanted_replicas(admin: AIOKafkaAdminClient) -> int:
    return min(_MAX_REPLICAS, len((await admin.describe_cluster())["brokers"]))


async def _configure(admin: AIOKafkaAdminClient, configs: Mapping[str, Mapping[str, str]]) -> None:
    """Replace all settings of the given topics; `configs` has each topic's new settings by its full name.

    Settings that shall stay must be repeated, because aiokafka has no request that changes a single setting.
    """
    if not configs:
        return
    answers = await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, dict(config)) for name, config in configs.items()]
    )
    for code, *_, name in (resource for answer in answers for resource in answer.resources):
        if code:
            raise for_code(code)(f"the settings of {name} cannot be changed")


async def _create(admin: AIOKafkaAdminClient, name: str, topic: Topic, replicas: int) -> None:
    """Create a topic in Kafka; do nothing if another process has just created it."""
    config = config_changes(topic, TopicLayout(topic.partitions, replicas), TopicConfig({}, {}))
    answer = await admin.create_topics([NewTopic(name, topic.partitions, replicas, topic_configs=config)])
    error = for_code(answer.topic_errors[0][1])
    if error not in (NoError, TopicAlreadyExistsError):
        raise error(f"{name} cannot be created")


async def topic_differences(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, list[str]]:
    """Return, by each topic's full name, phrases that say how the topic in Kafka differs from `manifest`.

    `bootstrap` names the Kafka servers; `prefix` comes before each topic's name. A topic without differences has an
    empty list. Raises BrokerUnavailable.
    """
    topics = {f"{prefix}{topic.name}": topic for topic in manifest}
    async with connected_admin(bootstrap) as admin:
        existing = sorted({*await admin.list_topics()} & topics.keys())
        replicas = await _wanted_replicas(admin)
        layouts, configs = await _layouts(admin, existing), await topic_configs(admin, existing)
    return {
        name: topic_faults(topic, replicas, layouts[name], configs[name]) if name in layouts else ["it is missing"]
        for name, topic in topics.items()
    }


async def _layouts(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicLayout]:
    topics = await admin.describe_topics(names) if names else []
    return {
        topic["topic"]: TopicLayout(
            len(topic["partitions"]), min((len(partition["replicas"]) for partition in topic["partitions"]), default=0)
        )
        for topic in topics
    }


async def topic_configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicConfig]:
    """Ask Kafka for the settings of topics; return them by the topic's full name. `names` are full names."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    resources = [resource for answer in answers for resource in answer.resources]
    return {name: _config(entries) for _, _, _, name, entries in resources}


def _config(entries: Iterable[tuple[str, str, bool, int]]) -> TopicConfig:
    values = {name: (str(value), source) for name, value, _, source, *_ in entries}
    return TopicConfig(
        effective={name: value for name, (value, _) in values.items()},
        own={name: value for name, (value, source) in values.items() if source == _TOPIC_SOURCE},
    )


def config_changes(topic: Topic, layout: TopicLayout, config: TopicConfig) -> dict[str, str]:
    """Return the settings to change in Kafka so that a topic is as the manifest describes it; empty if none.

    The settings are by Kafka's names. `topic` is the topic in the manifest; `layout` and `config` are the topic in
    Kafka. If the topic has three replicas, a record must be in two of them to count as stored, so that the loss of one
    replica loses no record.
    """
    wanted = topic.full_config
    if layout.replicas >= _MAX_REPLICAS and int(config.effective.get(_MIN_IN_SYNC, 1)) < 2:
        wanted[_MIN_IN_SYNC] = "2"
    return {key: value for key, value in wanted.items() if config.effective.get(key) != value}


def topic_faults(topic: Topic, replicas: int, layout: TopicLayout, config: TopicConfig) -> list[str]:
    """Return phrases for operators about the differences of a topic in Kafka from `topic` in the manifest.

    `layout` and `config` are the topic in Kafka. `replicas` is how many replicas it should have, given the number of
    brokers. The result is empty if there are no differences.
    """
    differences = [
        f"{key} is {config.effective.get(key)}, not {value}"
        for key, value in config_changes(topic, layout, config).items()
    ]
    if layout.partitions < topic.partitions:
        differences.append(f"it has {layout.partitions} partitions, not {topic.partitions}")
    if layout.replicas < replicas:
        differences.append(f"it has {layout.replicas} replicas, not {replicas}")
    return differences
