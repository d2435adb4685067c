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
    """How many partitions a topic in Kafka has, and how many replicas each partition has at least."""

    partitions: int
    replicas: int


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """The settings of a topic in Kafka, by Kafka's names: all in force, and those given to the topic itself."""

    effective: Mapping[str, str]
    own: Mapping[str, str]


async def missing_topics(bootstrap: str, names: Sequence[str]) -> list[str]:
    """Return those of the topics' full names `names` that Kafka does not have, in their order; empty if it has all.

    `bootstrap` names the Kafka servers. Raises BrokerUnavailable.
    """
    async with connected_admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
    return [name for name in names if name not in existing]


async def apply_topics(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, str]:
    """Create the missing topics of `manifest` in Kafka, and correct the settings of all its topics.

    `bootstrap` names the Kafka servers; `prefix` comes before each topic's name. Settings that the manifest does not
    name keep the values that an operator gave them. Return, by full name, "created", "configured" for a topic whose
    settings were changed, or "unchanged". Raises BrokerUnavailable.
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
    """Replace all settings of topics, by the topics' full names.

    aiokafka has no request that changes single settings, so each mapping must repeat the settings that shall stay.
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
    """Create a topic, or do nothing if another process has just created it."""
    config = config_changes(topic, TopicLayout(topic.partitions, replicas), TopicConfig({}, {}))
    answer = await admin.create_topics([NewTopic(name, topic.partitions, replicas, topic_configs=config)])
    error = for_code(answer.topic_errors[0][1])
    if error not in (NoError, TopicAlreadyExistsError):
        raise error(f"{name} cannot be created")


async def topic_differences(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, list[str]]:
    """Return, by full name, a list of sentences about how each topic in Kafka differs from `manifest`.

    `bootstrap` names the Kafka servers; `prefix` comes before each topic's name. The list of a topic without
    differences is empty. Raises BrokerUnavailable.
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
    """Ask Kafka for the settings of the topics with the full names `names`; return them by name."""
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
    """Return the settings that a topic must get to be as the manifest has it, by Kafka's names; empty if none.

    With three replicas, a record counts as stored once two have it, so that it outlives one of them.
    """
    wanted = topic.full_config
    if layout.replicas >= _MAX_REPLICAS and int(config.effective.get(_MIN_IN_SYNC, 1)) < 2:
        wanted[_MIN_IN_SYNC] = "2"
    return {key: value for key, value in wanted.items() if config.effective.get(key) != value}


def topic_faults(topic: Topic, replicas: int, layout: TopicLayout, config: TopicConfig) -> list[str]:
    """Return a sentence for operators about each difference of a topic in Kafka from the manifest's `topic`.

    `replicas` is the number of replicas that the Kafka cluster allows a topic to have.
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
