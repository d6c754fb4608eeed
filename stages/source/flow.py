"""Which keys a stage's function reads, by following the config through its source: `run.params` under any name, into
functions and classes of the project, and nothing that the function does not reach.

It follows assignments, arguments, `**run.params`, dataclasses, namespaces, `match`, constants and loops over them. What
it can't follow (`exec`, keys made of texts, functions found by name at run time) it does not guess: such keys are
declared in `DYNAMIC_KEYS`, or allowed one by one. This is a flow-insensitive analysis over names, as simple as pays: a
name that held the config once in a function counts as the config in all of it.
"""

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

# What a name may stand for.
RUN, PARAMS, SPACE = "run", "params", "namespace"  # the run; the config; an object whose attributes are the keys
Kinds = dict[str, str]
COPIES = ("dict", "copy", "deepcopy", "OrderedDict", "ChainMap", "MappingProxyType")
SPACES = ("Namespace", "SimpleNamespace")
READERS = ("get", "pop", "setdefault", "choice")
REQUIRED: Any = object()  # params["key"]: the config must say
COMPUTED: Any = object()  # params.get("key", SOMETHING): the source does not show it


@dataclass(frozen=True)
class Function:
    """A function or class of a module, with the kinds of what its parameters are given."""

    module: str
    name: str  # dotted, of a method
    given: tuple[tuple[str, str], ...] = ()


@dataclass
class Reads:
    """`keys`: key -> defaults; `choices`: key -> the values that it may have; `lost`: where the way was lost."""

    keys: dict[str, list[Any]] = field(default_factory=dict)
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@dataclass
class Module:
    """The definitions of a module by name, its constants, and what its names are imported from."""

    name: str
    tree: ast.Module
    definitions: dict[str, ast.AST] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (module, name there or "")


def module_of(name: str, tree: ast.Module, resolve: Callable[[ast.ImportFrom], str]) -> Module:
    """Read what a module's source defines; `resolve` gives the absolute name of what an import is from."""
    module = Module(name, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported = alias.name if alias.asname else alias.name.partition(".")[0]
                module.imports[alias.asname or imported] = (imported, "")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (resolve(node), alias.name)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    module.constants[target.id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            module.constants[node.target.id] = node.value
    return module


class Follower:
    """Follows the config from one function on. `load` gives a module of the project by name, None for all others."""

    def __init__(self, load: Callable[[str], Module | None]) -> None:
        self.load, self.reads = load, Reads()
        self._done: set[Function] = set()
        self._waiting: list[Function] = []
        self._attributes: Kinds = {}  # of any object but the run: `self.cfg`
        self._methods: dict[str, Kinds] = {}  # name of a method -> what its parameters were given, whosever it is

    def follow(self, module: str, function: str) -> bool:
        """Follow a stage's function; False if there is no such definition in the source."""
        start = self._definition(module, function)
        if start is None:
            return False
        where, name, node = start
        first = [argument.arg for argument in _arguments(node)][:1] if not isinstance(node, ast.ClassDef) else []
        self._reach(Function(where.name, name, tuple((argument, RUN) for argument in first)))
        while True:
            known = self._knowledge()
            while self._waiting:
                self._walk(self._waiting.pop())
            if self._knowledge() == known:
                return True
            again, self._done = list(self._done), set()  # an attribute was found to hold the config: look once more
            self._waiting = again

    def _knowledge(self) -> tuple[int, int]:
        return len(self._attributes), sum(len(given) for given in self._methods.values())

    def _reach(self, function: Function) -> None:
        if function not in self._done:
            self._done.add(function)
            self._waiting.append(function)

    def _definition(self, module: str, name: str, depth: int = 0) -> tuple[Module, str, ast.AST] | None:
        """Where a name of a module is defined, through imports, assignments and `partial`."""
        found = self.load(module)
        if found is None or depth > 20:
            return None
        if (node := found.definitions.get(name)) is not None:
            return found, name, node
        if name in found.imports:
            source, inner = found.imports[name]
            return self._definition(source, inner, depth + 1) if inner else None
        value = found.constants.get(name)
        if isinstance(value, ast.Call) and value.args and _last(value.func) in ("partial", "wraps", "staticmethod"):
            value = value.args[0]
        return self._definition(module, value.id, depth + 1) if isinstance(value, ast.Name) else None

    def _walk(self, function: Function) -> None:
        module = self.load(function.module)
        assert module is not None
        node: ast.AST = module.definitions[function.name.partition(".")[0]]
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    given = dict(function.given) if inner.name == "__init__" else {}
                    _Body(self, module, inner, self._of_method(inner) | given).look()
                else:
                    _Body(self, module, inner, {}).look()
            for base in node.bases:
                self._refer(module, base, ())
        else:
            _Body(self, module, node, dict(function.given)).look()

    def _of_method(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Kinds:
        """What a method's parameters were given, by position behind `self` or by name."""
        given = self._methods.get(node.name, {})
        behind = [argument.arg for argument in _arguments(node)]
        static = any(_last(decorator) == "staticmethod" for decorator in node.decorator_list)
        names = behind if static else behind[1:]
        by_place = {name: given[str(place)] for place, name in enumerate(names) if str(place) in given}
        return by_place | {name: given[name] for name in names if name in given}

    def _refer(self, module: Module, expression: ast.expr, given: tuple[tuple[str, str], ...]) -> ast.AST | None:
        """Reach what an expression names, if it is a definition of the project; returns that."""
        found = None
        if isinstance(expression, ast.Name):
            found = self._definition(module.name, expression.id)
        elif isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
            source, inner = module.imports.get(expression.value.id, ("", ""))
            if source:
                found = self._definition(f"{source}.{inner}" if inner else source, expression.attr)
        if found is None:
            return None
        where, name, node = found
        self._reach(Function(where.name, name, given))
        return node


class _Body:
    """One function, or statement of a class, with the names that stand for the run or the config in it."""

    def __init__(self, follower: Follower, module: Module, node: ast.AST, given: Kinds) -> None:
        self.follower, self.module, self.node = follower, module, node
        self.kinds = dict(given)
        self.texts: dict[str, list[str]] = {}  # names that stand for texts of the source
        self.local: dict[str, ast.AST] = {
            inner.name: inner
            for inner in ast.walk(node)
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner is not node
        }

    def look(self) -> None:
        before = -1
        while before != len(self.kinds) + len(self.texts) + len(self.follower._attributes):
            before = len(self.kinds) + len(self.texts) + len(self.follower._attributes)
            for node in ast.walk(self.node):
                self._bind(node)
        for node in ast.walk(self.node):
            self._read(node)

    # What names stand for.

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self._assign(target, value)
            case ast.NamedExpr(target=target, value=value):
                self._assign(target, value)
            case ast.For(target=target, iter=over) | ast.comprehension(target=target, iter=over):
                self._loop(target, over)
            case ast.With(items=items):
                for item in items:
                    if item.optional_vars is not None:
                        self._assign(item.optional_vars, item.context_expr)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=words) if name in self.local:
                self.kinds |= self._handed(_arguments(self.local[name]), arguments, words)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            for one, other in zip(target.elts, value.elts, strict=False):
                self._assign(one, other)
        elif kind := self._kind(value):
            if isinstance(target, ast.Name):
                self.kinds.setdefault(target.id, kind)
            elif isinstance(target, ast.Attribute):
                self.follower._attributes.setdefault(target.attr, kind)
        elif isinstance(target, ast.Name) and (texts := self._texts(value)):
            self.texts.setdefault(target.id, texts)

    def _loop(self, target: ast.expr, over: ast.expr) -> None:
        names = [target] if isinstance(target, ast.Name) else getattr(target, "elts", [])[:1]
        items: list[str] = []
        literal = self._literal(over)
        if isinstance(literal, dict | list | tuple | set):
            for item in literal:
                first = item[0] if isinstance(item, tuple | list) and item else item
                items += [first] if isinstance(first, str) else []
        for name in names:
            if isinstance(name, ast.Name) and items:
                self.texts.setdefault(name.id, items)

    def _kind(self, node: ast.expr) -> str | None:  # noqa: PLR0911 - a case a line
        match node:
            case ast.Name(id=name):
                return self.kinds.get(name)
            case ast.Attribute(value=value, attr=name):
                if self._kind(value) == RUN:
                    return PARAMS if name == "params" else None
                return self.follower._attributes.get(name)
            case ast.Call(func=function, args=arguments, keywords=words):
                return self._kind_of_call(function, arguments, words)
            case ast.Dict(keys=keys, values=values):
                return PARAMS if any(k is None and self._kind(v) == PARAMS for k, v in _pairs(keys, values)) else None
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._kind(left) or self._kind(right)
            case ast.IfExp(body=body, orelse=other):
                return self._kind(body) or self._kind(other)
            case ast.BoolOp(values=values):
                return next((kind for value in values if (kind := self._kind(value))), None)
            case ast.NamedExpr(value=value):
                return self._kind(value)
        return None

    def _kind_of_call(
        self, function: ast.expr, arguments: Sequence[ast.expr], words: Sequence[ast.keyword]
    ) -> str | None:
        name = _last(function)
        handed = [self._kind(argument) for argument in arguments]
        starred = any(word.arg is None and self._kind(word.value) == PARAMS for word in words)
        if name in SPACES and (starred or PARAMS in handed):
            return SPACE
        if name in COPIES and (PARAMS in handed or starred):
            return PARAMS
        if name == "vars" and SPACE in handed:
            return PARAMS
        if isinstance(function, ast.Attribute) and name == "copy":
            return self._kind(function.value)
        return None

    # What is read.

    def _read(self, node: ast.AST) -> None:
        match node:
            case ast.Call():
                self._call(node)
            case ast.Subscript(value=on, slice=key, ctx=ast.Load()) if self._kind(on) == PARAMS:
                self._keys(key, REQUIRED)
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[on]) if self._kind(on) == PARAMS:
                self._keys(key, REQUIRED)
            case ast.Attribute(value=on, attr=name, ctx=ast.Load()) if self._kind(on) == SPACE:
                self._note(name, REQUIRED)
            case ast.Match(subject=subject, cases=cases) if self._kind(subject) == PARAMS:
                for pattern in (inner for case in cases for inner in ast.walk(case.pattern)):
                    if isinstance(pattern, ast.MatchMapping):
                        for key in pattern.keys:
                            self._keys(key, REQUIRED)
            case ast.Name(ctx=ast.Load()) | ast.Attribute(ctx=ast.Load()):
                self.follower._refer(self.module, node, ())  # called, or handed on to be

    def _call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Attribute(value=on, attr=name), args=[key, *rest]) if (
                name in READERS and self._kind(on) == PARAMS
            ):
                default = next((w.value for w in node.keywords if w.arg == "default"), rest[0] if rest else None)
                self._keys(key, None if default is None else self._default(default))
                if name == "choice" and len(rest) > 1:
                    self._choices(key, rest[1])
                return
            case ast.Call(func=ast.Attribute(attr="options", value=on), args=[options]) if self._kind(on) == RUN:
                self._options(options)
                return
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[on, key, *rest]) if self._kind(on) == SPACE:
                self._keys(key, self._default(rest[0]) if rest else REQUIRED)
                return
        self._hand_on(node)

    def _hand_on(self, node: ast.Call) -> None:
        """Reach the function or class that is called, with what its parameters are given."""
        target = self.follower._refer(self.module, node.func, ())
        if target is None:
            self._lose(node)
            return
        spread = any(word.arg is None and self._kind(word.value) == PARAMS for word in node.keywords)
        constructor: ast.FunctionDef | ast.AsyncFunctionDef | None = None
        if isinstance(target, ast.ClassDef):
            inside = (f for f in target.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
            constructor = next(inside, None)
            arguments = _arguments(constructor)[1:] if constructor else []
            if spread and constructor is None:
                self._fields(target)
        else:
            arguments = _arguments(target)
            constructor = target if isinstance(target, ast.FunctionDef | ast.AsyncFunctionDef) else None
        given = self._handed(arguments, node.args, node.keywords)
        if spread and constructor is not None:
            taken = {argument.arg for argument in arguments[: len(node.args)]}
            taken |= {word.arg for word in node.keywords if word.arg}
            for argument, default in _with_defaults(constructor):
                if argument.arg not in taken and argument in arguments:
                    self._note(argument.arg, REQUIRED if default is None else self._default(default))
            if constructor.args.kwarg:
                given[constructor.args.kwarg.arg] = PARAMS
        if given:
            self.follower._refer(self.module, node.func, tuple(sorted(given.items())))

    def _lose(self, node: ast.Call) -> None:
        """What is called is no definition of the project: a method, something of a library, or what nobody can tell."""
        given = {str(place): kind for place, argument in enumerate(node.args) if (kind := self._kind(argument))}
        given |= {word.arg: kind for word in node.keywords if word.arg and (kind := self._kind(word.value))}
        if not given:
            return
        if isinstance(node.func, ast.Attribute):
            self.follower._methods.setdefault(node.func.attr, {}).update(given)
        elif not isinstance(node.func, ast.Name) or self._is_variable(node.func.id):
            self.follower.reads.lost.append(f"{self.module.name}:{node.lineno}")

    def _is_variable(self, name: str) -> bool:
        known = name in self.local or name in self.module.imports or name in self.module.definitions
        return not known and not hasattr(builtins, name)

    def _handed(
        self, parameters: Sequence[ast.arg], arguments: Sequence[ast.expr], words: Sequence[ast.keyword]
    ) -> Kinds:
        given: Kinds = {}
        for parameter, argument in zip(parameters, arguments, strict=False):
            if kind := self._kind(argument):
                given[parameter.arg] = kind
        for word in words:
            if word.arg and (kind := self._kind(word.value)):
                given[word.arg] = kind
        return given

    def _options(self, options: ast.expr) -> None:
        target = self.follower._refer(self.module, options, ())
        if isinstance(target, ast.ClassDef):
            self._fields(target)

    def _fields(self, node: ast.ClassDef) -> None:
        """The fields of a dataclass, of those that it inherits from, too."""
        for base in node.bases:
            target = self.follower._refer(self.module, base, ())
            if isinstance(target, ast.ClassDef):
                self._fields(target)
        for inner in node.body:
            match inner:
                case ast.AnnAssign(target=ast.Name(id=name), value=value, annotation=kind):
                    if "ClassVar" not in ast.dump(kind):
                        self._note(name, REQUIRED if value is None else self._default(_of_field(value)))

    # Values of the source.

    def _keys(self, node: ast.expr, default: Any) -> None:
        for key in self._texts(node):
            self._note(key, default)

    def _choices(self, key: ast.expr, values: ast.expr) -> None:
        literal = self._literal(values)
        if isinstance(literal, tuple | list):
            for name in self._texts(key):
                self.follower.reads.choices[name] = tuple(literal)

    def _note(self, key: str, default: Any) -> None:
        self.follower.reads.keys.setdefault(key, []).append(default)

    def _texts(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.Name) and node.id in self.texts:
            return self.texts[node.id]
        literal = self._literal(node)
        return [literal] if isinstance(literal, str) else []

    def _default(self, node: ast.expr) -> Any:
        literal = self._literal(node)
        return COMPUTED if literal is COMPUTED else literal

    def _literal(self, node: ast.expr) -> Any:
        """The value of an expression that the source shows, through constants of modules and classes."""
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
        value = self._constant(node)
        if value is None or value is node:
            return COMPUTED
        try:
            return ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return COMPUTED

    def _constant(self, node: ast.expr) -> ast.expr | None:  # noqa: PLR0911 - a case a line
        if isinstance(node, ast.Name):
            if node.id in self.module.constants:
                return self.module.constants[node.id]
            source, inner = self.module.imports.get(node.id, ("", ""))
            other = self.follower.load(source) if source and inner else None
            return other.constants.get(inner) if other else None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            source, inner = self.module.imports.get(node.value.id, ("", ""))
            other = self.follower.load(f"{source}.{inner}" if inner else source) if source else None
            if other:
                return other.constants.get(node.attr)
            holder = self.module.definitions.get(node.value.id)
            for one in getattr(holder, "body", ()):
                match one:
                    case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == node.attr:
                        return value
                    case ast.AnnAssign(target=ast.Name(id=name), value=value) if name == node.attr:
                        return value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "keys"):
            return self._constant(node.func.value) or node.func.value
        return None


def _arguments(node: ast.AST) -> list[ast.arg]:
    arguments = getattr(node, "args", None)
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs] if arguments else []


def _with_defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    plain = [*node.args.posonlyargs, *node.args.args]
    padding: list[ast.expr | None] = [None] * (len(plain) - len(node.args.defaults))
    yield from zip(plain, [*padding, *node.args.defaults], strict=True)
    yield from zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)


def _of_field(value: ast.expr) -> ast.expr:
    """The default of `field(default=1)`, or what its factory makes where that is `list` or a lambda."""
    if isinstance(value, ast.Call) and _last(value.func) in ("field", "Field"):
        for word in value.keywords:
            if word.arg == "default":
                return word.value
            if word.arg == "default_factory":
                if isinstance(word.value, ast.Lambda):
                    return word.value.body
                return ast.List([], ast.Load()) if _last(word.value) == "list" else word.value
    return value


def _pairs(keys: Sequence[ast.expr | None], values: Sequence[ast.expr]) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    yield from zip(keys, values, strict=True)


def _last(node: ast.expr) -> str:
    """The last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
