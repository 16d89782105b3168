"""The directives and roles: ``.. regmodel:register:: igbvf RXDCTL``, ``:regmodel:any:`igbvf rxdctl```.

A directive puts what ``content`` says into the document and notes where it stands, so that links and the search find it. It
refuses what has no description or no source: documentation that is incomplete is an error of the build.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.addnodes import pending_xref
from sphinx.builders import Builder
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from regmodel.catalogue import Description, describe
from regmodel.errors import RegmodelError
from regmodel.sphinx import content


class _Directive(SphinxDirective):
    """One that takes a device and, maybe, a name in it."""

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = " ".join(self.arguments).split()
        try:
            device = describe(words[0])
            for file in content.files(device):
                self.env.note_dependency(file)
            return self.show(device, words[1:])
        except RegmodelError as error:
            return [self.state.document.reporter.error(str(error), line=self.lineno)]

    def show(self, device: Description, words: Sequence[str]) -> list[nodes.Node]:
        raise NotImplementedError

    def note(self, device: Description, kind: str, name: str) -> None:
        domain = self.env.get_domain("regmodel")
        assert isinstance(domain, RegmodelDomain)
        domain.note(device.name, kind, name, self.env.docname, content.anchor(device, name))

    def _registers(self, device: Description, names: Sequence[str]) -> None:
        for name in names:
            self.note(device, "register", name)


class RegisterDirective(_Directive):
    """``.. regmodel:register:: DEVICE NAME``: one register, in any case."""

    def show(self, device: Description, words: Sequence[str]) -> list[nodes.Node]:
        names = [word.lower() for word in words] or [""]
        shown = [content.register(device, name) for name in names]
        self._registers(device, names)
        return [*shown]


class BarDirective(_Directive):
    """``.. regmodel:bar:: DEVICE NUMBER``: a whole BAR; ``config`` is configuration space."""

    def show(self, device: Description, words: Sequence[str]) -> list[nodes.Node]:
        index = content.bar_index(device, words)
        self._registers(device, list(content.bar_of(device, index).entries))
        return content.bar_page(device, index)


class SchemaDirective(_Directive):
    """``.. regmodel:schema:: DEVICE NAME...``: descriptors, messages or structures; all of them without a name."""

    def show(self, device: Description, words: Sequence[str]) -> list[nodes.Node]:
        shown: list[nodes.Node] = []
        for name in words or device.schemas:
            shown.append(content.schema(device, name))
            self.note(device, "schema", name)
        return shown


class HandshakesDirective(_Directive):
    """``.. regmodel:handshakes:: DEVICE``: all of its message sequence charts."""

    def show(self, device: Description, words: Sequence[str]) -> list[nodes.Node]:
        for found in device.handshakes:
            self.note(device, "handshake", found.name)
        return [content.handshake(device, found) for found in device.handshakes]


class DeviceDirective(_Directive):
    """``.. regmodel:device:: DEVICE``: what it is, on one page."""

    def show(self, device: Description, words: Sequence[str]) -> list[nodes.Node]:
        return content.overview(device)


DIRECTIVES: dict[str, type[Directive]] = {
    "register": RegisterDirective,
    "bar": BarDirective,
    "schema": SchemaDirective,
    "handshakes": HandshakesDirective,
    "device": DeviceDirective,
}

Place = tuple[str, str, str]
"""Document, anchor, kind."""


class RegmodelDomain(Domain):
    """Everything that was described, by device and name."""

    name = "regmodel"
    label = "regmodel"
    object_types = {kind: ObjType(kind, "any") for kind in ("register", "schema", "handshake")}
    directives = DIRECTIVES
    roles = {"any": XRefRole()}
    initial_data = {"places": {}}
    data_version = 1

    @property
    def places(self) -> dict[tuple[str, str], Place]:
        found: dict[tuple[str, str], Place] = self.data["places"]
        return found

    def note(self, device: str, kind: str, name: str, document: str, anchor: str) -> None:
        """The pages of the device itself come first; where it is embedded elsewhere does not take the links away.

        Of its own pages the last by name counts, of others the first, in whatever order they are read.
        """
        home = f"devices/{device}/"
        before = self.places.get((device, name), ("", "", ""))[0]
        if document.startswith(home):
            first = not before.startswith(home) or document >= before
        else:
            first = not before or (not before.startswith(home) and document < before)
        if first:
            self.places[device, name] = (document, anchor, kind)

    def clear_doc(self, docname: str) -> None:
        for key in [key for key, place in self.places.items() if place[0] == docname]:
            del self.places[key]

    def merge_domaindata(self, docnames: Any, otherdata: Any) -> None:
        for (device, name), (document, anchor, kind) in otherdata["places"].items():
            if document in docnames:
                self.note(device, kind, name, document, anchor)

    def find(self, device: str, name: str) -> Place | None:
        return self.places.get((device, name)) or self.places.get((device, name.lower()))

    def resolve_xref(
        self, env: BuildEnvironment, fromdocname: str, builder: Builder, typ: str, target: str, node: pending_xref,
        contnode: nodes.Element,
    ) -> nodes.reference | None:  # fmt: skip
        device, _, name = target.partition(" ")
        place = self.find(device, name)
        return make_refnode(builder, fromdocname, place[0], place[1], contnode) if place else None

    def resolve_any_xref(
        self, env: BuildEnvironment, fromdocname: str, builder: Builder, target: str, node: pending_xref,
        contnode: nodes.Element,
    ) -> list[tuple[str, nodes.reference]]:  # fmt: skip
        found = self.resolve_xref(env, fromdocname, builder, "any", target, node, contnode)
        return [("regmodel:any", found)] if found is not None else []

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        for (device, name), (document, anchor, kind) in self.places.items():
            yield f"{device} {name}", f"{device} {name.upper() if kind == 'register' else name}", kind, document, anchor, 1
