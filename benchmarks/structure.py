"""The structure of the code in figures: files, lines, names, imports.

    python -m benchmarks.structure [FOLDER ...]

Prints a table with a column for each checkout; default: this one. Only syntax trees are read; no
code of a checkout is run.
"""

import ast
import collections
import pathlib
import re
import statistics
import sys
from collections.abc import Iterator

# Names that describe how a value was obtained, not what it is.
GLOSSARY = frozenset(
    "told found held given asked wanted shown sharp apart heated tempered walked taught learnt "
    "opened robustly victim goals aimed ends seats harvest settle settle_many campaign likeness "
    "tick climbed moved rightly watched nobody stretch leaps kept road lab benches become "
    "swept_and_one carried unseen portraits mover examine examination place places explained "
    "replacing tell notice stamp leave look looks".split()
)
_IRREGULAR = frozenset(
    "told found held given shown seen made known kept left taught learnt said done drawn chosen "
    "taken gone begun written read_ built sent met lost won worn heard felt thrown grown "
    "broken hidden bound bought caught cut_ led meant paid sold".split()
)
_NO_PARTICIPLES = frozenset("seed need feed speed embed exceed proceed bleed red shed".split())
# One-word names that are verbs, or terms of the field or of a library.
_WORDS = frozenset(
    """
    abs accuracy adversarial append apgd apply assert autoattack bind bool build call cast
    check clear clever clip close combine commit compare compile component compute conjugate
    contains convnet copy count crop deepfool delete density describe diagnose digest digits
    discard done draw dump embed encode entropy enter evaluate event exit export fab fgsm
    fill filter find fit flatten flush fold format forward freeze generate get googlenet
    gradient group guess hash help hinge hook init import infer insert integrate interpolate
    is iterate join jsma judge label link list listen load log logits loss main margin mask
    mean measure merge method mnist momentum move names norm normalise normalize note open
    parse pad path perturb pgd pick plot pop predict prepare print probe profile project
    propose publish push put query quantile r_hat raise read reduce refill register relation
    release remove rename render repeat replace report resample reset resize resnet resolve
    restore resume reuse run sample save scale scan score search seed select send serialize
    set shape show shuffle shutdown sign slice softmax solve sort split square spsa stack
    start state step stop store stream sum summary supports swap synthetic take test to
    tokenize track train traits transfer transform translate trim unlink update validate
    variance verify view visit wait walk warm warn weight width window wrap write ygcnn
    yield zip cifar10 fashion_mnist image_folder cw clw svhn black_box autocorrelation
    covariance jacobian hessian eigenvalue median percentile rank correlation epsilon
    distance distances size length dtype rows columns key keys values items value version
    title caption data text html markdown latex table figure
    """.split()
)
_STARTS = tuple(
    """
    add adjust advance apply are assert attach attack average backpropagate batch bisect
    blend block bound bracket broadcast build bundle cache can capture cast check choose
    claim classify clean clear clip close cluster collect combine commit compare compile
    complete compose compute concatenate configure connect construct convert copy correct
    correlate count cover create crop cut deduplicate default define delete demand derive
    describe detect determine diagnose differentiate digest discard discretize divide does
    download draw drop dump embed encode end ensure enter enumerate estimate evaluate
    examine exclude execute expand explain export express extract fetch fill filter find
    finish fit fix flatten flip float flush fold follow forbid forget format forward free
    freeze from gather generate get group guard guess handle has hash hide identify ignore
    implement import improve include increase infer initialize initialise inject insert
    inspect install integrate interpolate interpret invert is iter iterate join judge keep
    kill label launch lay left limit link list listen load locate lock log look lower make
    map mark mask match maximise maximize may measure merge minimise minimize mix move must
    name narrow needs normalise normalize note observe offer on open order pack pad paint
    parse partition pass patch permute perturb pick place plan plot poll pool pop predict
    prepare prevent print probe process produce project propose prove prune publish pull
    push put quantise quantize query queue raise rank rate read rebuild receive recompute
    record recover redirect reduce refer refill refresh refuse register reject relabel
    release reload remove rename render repair repeat replace report request require rescale
    reset reshape resize resolve restart restore restrict resume retain retry return reuse
    reverse rewind rewrite rotate round run sample save say scale scan schedule score search
    seed select send separate serialize set shift show shrink shuffle skip slice smooth
    solve sort spawn split spread spy square stack standardise start state step stop store
    stream stretch strip subtract suggest sum summarise summarize supports swap symlink take
    tell test tile to touch trace track train transform translate transpose traverse trim
    truncate try tune turn unfold unlink unpack unregister unroll unwrap update upper use
    uses validate verify view visit wait walk warm warn was weigh weight widen will wrap
    write yield zip
    """.split()
)


def iterate_functions(tree: ast.AST) -> Iterator[str]:
    """Yields the name of every function and method, without leading underscores."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[-2:] != "__":
            yield node.name.strip("_")


def is_participle(name: str) -> bool:
    """Returns whether a function's name ends in a participle, such as `told`."""
    last = name.split("_")[-1]
    starts = name.split("_")[0] in _STARTS and "_" in name
    regular = last.endswith("ed") and last not in _NO_PARTICIPLES and len(last) > 4
    return not starts and (last in _IRREGULAR or regular)


def find_identifiers(tree: ast.AST) -> Iterator[str]:
    """Yields every name that a file binds: functions, classes, parameters, variables, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def compute_longest_chain(trees: dict[str, ast.AST]) -> int:
    """Returns the number of modules on the longest path of imports without a cycle."""
    edges = {}
    for module, tree in trees.items():
        targets = set()
        for node in tree.body:
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    targets.add(full if full in trees else node.module)
        edges[module] = (targets & trees.keys()) - {module}
    lengths: dict[str, int] = {}

    def measure(module: str, above: tuple[str, ...]) -> int:
        if module not in lengths:
            below = [
                measure(target, (*above, module))
                for target in edges[module]
                if target not in above and target not in above[-1:]
            ]
            lengths[module] = 1 + max(below, default=0)
        return lengths[module]

    return max(measure(module, ()) for module in edges)


def measure_checkout(root: pathlib.Path) -> dict[str, str]:
    """Returns the figures of a checkout by their titles."""
    paths = sorted((root / "qup").rglob("*.py"))
    trees = {}
    lengths, functions, glossary = [], [], collections.Counter()
    for path in paths:
        text = path.read_text()
        tree = ast.parse(text)
        parts = path.relative_to(root).with_suffix("").parts
        trees[".".join(parts).removesuffix(".__init__")] = tree
        lengths.append(text.count("\n"))
        functions += iterate_functions(tree)
        names = (name.strip("_").lower() for name in find_identifiers(tree))
        glossary.update(name for name in names if name in GLOSSARY)
    count = len(functions)
    participles = [name for name in functions if is_participle(name)]
    single = [
        name
        for name in functions
        if re.fullmatch(r"[a-z0-9]+", name) and name not in _WORDS and name not in _STARTS
    ]
    verbs = [name for name in functions if name.split("_")[0] in _STARTS]
    rooms = {path.name for path in (root / "qup").iterdir()} - {"__init__.py", "__pycache__"}
    return {
        "files in qup": f"{len(paths)}",
        "lines in qup": f"{sum(lengths):,}",
        "lines per file: median": f"{statistics.median(lengths):.0f}",
        "lines per file: 90 % are shorter than": f"{statistics.quantiles(lengths, n=10)[-1]:.0f}",
        "functions": f"{count:,}",
        "function names that begin with a verb": f"{len(verbs) / count:.1%}",
        "function names that are participles": f"{len(participles) / count:.1%}",
        "one-word function names, neither verb nor term": f"{len(single) / count:.1%}",
        "names of the old private language": f"{sum(glossary.values()):,}",
        "longest chain of imports, modules": f"{compute_longest_chain(trees)}",
        "rooms and loose modules at the top of qup": f"{len(rooms)}",
    }


def main(arguments: list[str]) -> None:
    """Prints the table."""
    roots = [pathlib.Path(name) for name in arguments or ["."]]
    columns = [measure_checkout(root) for root in roots]
    print("| | " + " | ".join(str(root) for root in roots) + " |")
    print("| --- |" + " ---: |" * len(roots))
    for title in columns[0]:
        print(f"| {title} | " + " | ".join(column[title] for column in columns) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
