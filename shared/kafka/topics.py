"""Creates Kafka's topics from the manifest, and compares existing topics with it."""

from collections.abc import Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from shared.events.topics import Topic
from shared.kafka.clients import connected_admin

_MAX_REPLICAS = 3
"""A topic has as many replicas as there are brokers, up to this number."""


async def missing_topics(bootstrap: str, names: Sequence[str]) -> list[str]:
    """Return those of the topics' full names `names` that Kafka does not have, in their order; empty if it has all.

    `bootstrap` names the Kafka servers. Raises BrokerUnavailable.
    """
    async with connected_admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
    return [name for name in names if name not in existing]


async def apply_topics(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, str]:
    """Create the missing topics of `manifest` in Kafka, and set the configuration of all its topics.

    `bootstrap` names the Kafka servers; `prefix` comes before each topic's name. Return, by full name, "created", or
    "unchanged" for a topic that existed, even if its configuration was changed. Raises BrokerUnavailable.
    """
    async with connected_admin(bootstrap) as admin:
        existing = set(await admin.list_topics())
        replicas = min(_MAX_REPLICAS, len((await admin.describe_cluster())["brokers"]))
        results: dict[str, str] = {}
        for topic in manifest:
            name = f"{prefix}{topic.name}"
            results[name] = "unchanged" if name in existing else await _create(admin, name, topic, replicas)
        answers = await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, f"{prefix}{topic.name}", topic.full_config) for topic in manifest]
        )
        for code, *_, name in (resource for answer in answers for resource in answer.resources):
            if code:
                raise for_code(code)(f"the settings of {name} cannot be changed")
    return results


async def _create(admin: AIOKafkaAdminClient, name: str, topic: Topic, replicas: int) -> str:
    new = NewTopic(name, topic.partitions, replicas, topic_configs=topic.full_config)
    answer = await admin.create_topics([new])
    error = for_code(answer.topic_errors[0][1])
    if error is TopicAlreadyExistsError:
        return "unchanged"
    if error is not NoError:
        raise error(f"{name} cannot be created")
    return "created"


async def topic_differences(bootstrap: str, prefix: str, manifest: Sequence[Topic]) -> dict[str, list[str]]:
    """Return, by full name, a list of sentences about how each topic in Kafka differs from `manifest`.

    `bootstrap` names the Kafka servers; `prefix` comes before each topic's name. The list of a topic without
    differences is empty. Raises BrokerUnavailable.
    """
    topics = {f"{prefix}{topic.name}": topic for topic in manifest}
    async with connected_admin(bootstrap) as admin:
        existing = {*await admin.list_topics()} & topics.keys()
        partitions = await _partition_counts(admin, sorted(existing))
        configs = await topic_configs(admin, sorted(existing))
    return {
        name: _differences(topic, partitions[name], configs[name]) if name in existing else ["it is missing"]
        for name, topic in topics.items()
    }


async def _partition_counts(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    topics = await admin.describe_topics(names) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in topics}


async def topic_configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the settings of topics in Kafka, defaults included: values by key, by the topics' full names `names`."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    resources = [resource for answer in answers for resource in answer.resources]
    return {name: {entry[0]: str(entry[1]) for entry in entries} for _, _, _, name, entries in resources}


def _differences(topic: Topic, partitions: int, config: Mapping[str, str]) -> list[str]:
    differences = [
        f"{key} is {config.get(key)}, not {value}"
        for key, value in topic.full_config.items()
        if config.get(key) != value
    ]
    if partitions < topic.partitions:
        differences.append(f"it has {partitions} partitions, not {topic.partitions}")
    return differences
