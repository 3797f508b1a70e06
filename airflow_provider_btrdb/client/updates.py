"""A change of a stream's tags, collection and annotations: its requests, and whether a descriptor shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from airflow_provider_btrdb.client.codec import from_key_values, request, to_key_values
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import checked_annotations, checked_tags
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What to change; what is not mentioned stays."""

    tags: Mapping[str, str] = field(default_factory=dict)
    remove_tags: tuple[str, ...] = ()
    """These become ""."""
    collection: str | None = None
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    remove_annotations: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        tags: Mapping[str, str] | None,
        collection: str | None,
        annotations: Mapping[str, str | None] | None,
        remove_tags: Iterable[str],
        remove_annotations: Iterable[str],
    ) -> Update:
        """Checked arguments. Raises InputError for values that are not text, and when nothing is to be changed."""
        if collection == "":
            raise InputError("the new collection is empty")
        update = cls(
            tags=checked_tags(tags or {}),
            remove_tags=tuple(remove_tags),
            collection=collection,
            annotations=checked_annotations(annotations or {}),
            remove_annotations=tuple(remove_annotations),
        )
        both = {*update.tags} & {*update.remove_tags} | {*update.annotations} & {*update.remove_annotations}
        if both:
            raise InputError(f"{min(both)!r} is both set and removed")
        if not (update.changes_tags or update.changes_annotations):
            raise InputError("nothing to update: give tags, a collection, annotations or keys to remove")
        return update

    @property
    def changes_tags(self) -> bool:
        """Is the first of the two calls needed?"""
        return bool(self.tags or self.remove_tags or self.collection is not None)

    @property
    def changes_annotations(self) -> bool:
        """Is the second of the two calls needed?"""
        return bool(self.annotations or self.remove_annotations)

    def left_to_do(self, descriptor: pb.StreamDescriptor) -> Update | None:
        """The part of this change that the descriptor does not show yet; None when it shows all of it."""
        tags_left = self.changes_tags and not self.tags_hold(descriptor)
        annotations_left = self.changes_annotations and not self.annotations_hold(descriptor)
        if not (tags_left or annotations_left):
            return None
        tags = replace(self, annotations={}, remove_annotations=())
        annotations = replace(self, tags={}, remove_tags=(), collection=None)
        return self if tags_left and annotations_left else tags if tags_left else annotations

    def tags_request(self, uuid: bytes, expected: int) -> pb.SetStreamTagsParams:
        """Tags and collection; an absent collection stays."""
        return request(
            pb.SetStreamTagsParams,
            uuid=uuid,
            expected_property_version=expected,
            tags=to_key_values(self.tags),
            collection=self.collection or "",
            remove=self.remove_tags,
        )

    def annotations_request(self, uuid: bytes, expected: int) -> pb.SetStreamAnnotationsParams:
        """Annotations set and removed."""
        return request(
            pb.SetStreamAnnotationsParams,
            uuid=uuid,
            expected_property_version=expected,
            changes=to_key_values(self.annotations),
            removals=self.remove_annotations,
        )

    def with_tags(self, before: pb.StreamDescriptor) -> pb.StreamDescriptor:
        """The descriptor after the first half."""
        tags = {**from_key_values(before.tags), **dict.fromkeys(self.remove_tags, ""), **self.tags}
        return self._changed(before, tags, from_key_values(before.annotations), self.collection or before.collection)

    def with_annotations(self, before: pb.StreamDescriptor) -> pb.StreamDescriptor:
        """The descriptor after the second half."""
        annotations = {**from_key_values(before.annotations), **self.annotations}
        left = {key: value for key, value in annotations.items() if key not in self.remove_annotations}
        return self._changed(before, from_key_values(before.tags), left, before.collection)

    @staticmethod
    def _changed(
        before: pb.StreamDescriptor,
        tags: Mapping[str, str | None],
        annotations: Mapping[str, str | None],
        collection: str,
    ) -> pb.StreamDescriptor:
        return request(
            pb.StreamDescriptor,
            uuid=before.uuid,
            collection=collection,
            tags=to_key_values(tags),
            annotations=to_key_values(annotations),
            property_version=before.property_version + 1,
        )

    def tags_hold(self, descriptor: pb.StreamDescriptor) -> bool:
        """Does the descriptor show the first half?"""
        tags = from_key_values(descriptor.tags)
        return (
            all(tags.get(key, "") == value for key, value in self.tags.items())
            and not any(tags.get(key) for key in self.remove_tags)
            and self.collection in (None, descriptor.collection)
        )

    def annotations_hold(self, descriptor: pb.StreamDescriptor) -> bool:
        """Does the descriptor show the second half?"""
        annotations = from_key_values(descriptor.annotations)
        return all(
            key in annotations and annotations[key] == value for key, value in self.annotations.items()
        ) and not any(key in annotations for key in self.remove_annotations)
