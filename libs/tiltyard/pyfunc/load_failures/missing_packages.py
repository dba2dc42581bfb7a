"""What is said of a model whose packages are missing or of other releases, and the way out.

Only names that stand in the model's requirements, or that are known here, are ever advised to be installed: a
module's name may be nobody's package, or a stranger's.
"""

from collections.abc import Sequence
from pathlib import Path

from tiltyard.environments.requirement_lines import normal_name
from tiltyard.environments.requirements import Requirement
from tiltyard.errors import quote
from tiltyard.pyfunc.format.mlmodel import MLModel
from tiltyard.pyfunc.load_failures.installed_packages import (
    Release,
    installed_release,
    minor,
    other_releases,
    requirements,
)

# What brings a module, beside those below that have the name of their distribution.
_DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "category_encoders": "category-encoders",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "imblearn": "imbalanced-learn",
    "joblib": "joblib",
    "paddle": "paddlepaddle",
    "PIL": "pillow",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "pytorch_lightning": "pytorch-lightning",
    "scipy": "scipy",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# The extra of this distribution that brings a package.
_EXTRAS = {
    "catboost": "catboost",
    "cloudpickle": "pyfunc",
    "lightgbm": "lightgbm",
    "numpy": "pyfunc",
    "onnxruntime": "onnx",
    "pandas": "pyfunc",
    "pyspark": "spark",
    "scikit-learn": "sklearn",
    "skops": "sklearn",
    "statsmodels": "statsmodels",
    "xgboost": "xgboost",
}
# What loaders need, whatever the model's requirements say.
_NEEDS = {
    "mlflow.catboost": ("catboost",),
    "mlflow.diviner": ("mlflow", "diviner"),
    "mlflow.h2o": ("mlflow", "h2o"),
    "mlflow.keras": ("mlflow", "keras"),
    "mlflow.langchain": ("mlflow", "langchain"),
    "mlflow.lightgbm": ("lightgbm",),
    "mlflow.onnx": ("onnxruntime",),
    "mlflow.paddle": ("mlflow", "paddlepaddle"),
    "mlflow.pmdarima": ("mlflow", "pmdarima"),
    "mlflow.prophet": ("mlflow", "prophet"),
    "mlflow.pyfunc.model": ("cloudpickle",),
    "mlflow.pytorch": ("torch",),
    "mlflow.sentence_transformers": ("mlflow", "sentence-transformers"),
    "mlflow.sklearn": ("scikit-learn",),
    "mlflow.spacy": ("mlflow", "spacy"),
    "mlflow.spark": ("pyspark",),
    "mlflow.statsmodels": ("statsmodels",),
    "mlflow.tensorflow": ("mlflow", "tensorflow"),
    "mlflow.transformers": ("mlflow", "transformers"),
    "mlflow.xgboost": ("xgboost",),
}
# Loaders of pickles, and the libraries whose pickles fit one minor release.
_PICKLED = {
    "mlflow.lightgbm": ("lightgbm", "scikit-learn"),
    "mlflow.pyfunc.model": ("Python", "scikit-learn"),
    "mlflow.pytorch": ("torch",),
    "mlflow.sklearn": ("scikit-learn",),
    "mlflow.statsmodels": ("statsmodels",),
    "tiltyard_python_function": ("Python", "scikit-learn"),
}
_KNOWN = {*_DISTRIBUTIONS.values(), *_EXTRAS, *(name for names in _NEEDS.values() for name in names)}
# What flavors that are read here name, and do not need.
_NOT_NEEDED = frozenset({"mlflow", "mlflow-skinny", "onnx"})

_MAX_LISTED = 6
ISOLATION = "--isolation process (in Spark: env='packed'), which gives a model the packages of its requirements.txt"


def told(directory: Path, metadata: MLModel, module: str) -> str:
    """What to say when the module of that name was not found: all that is missing, and how to install it."""
    root = module.partition(".")[0]
    loader = str(metadata.pyfunc["loader_module"])
    wanted = {requirement.name: requirement for requirement in requirements(directory)}
    own = _DISTRIBUTIONS.get(root) or normal_name(root)
    is_known = own in _KNOWN or own in wanted
    # Those that are not installed: the loader's, the model's, and that of the module, if it is known.
    spared = frozenset() if root == "mlflow" else _NOT_NEEDED - {own}
    candidates = dict.fromkeys([*_NEEDS.get(loader, ()), *wanted, *([own] if is_known else [])])
    names = [name for name in candidates if name not in spared and installed_release(name) is None]
    missing = _packages([wanted.get(name, Requirement(name, "")) for name in names])
    told = [f"The model (loader {quote(loader)}) needs"]
    if own in names:
        told.append(missing)
    else:
        here = installed_release(own) if is_known else None
        others = other_releases(directory, metadata)
        if here is not None:
            told.append(f"the module {quote(module)}, which {own} {here} does not have.")
        else:
            told.append(f"the module {quote(module)}, which is not installed and which its requirements do not name.")
        if others:
            told.append(f"It was saved with {listed(others)}, where the module may have been.")
        if here is None:
            told.append("If it is the author's own code, save the model again with code_paths.")
        if names:
            told += ["Besides, it needs", missing]
    if wanted:
        told.append(f"Or serve it with {ISOLATION}.")
    return " ".join(told)


def caution(directory: Path, metadata: MLModel) -> str | None:
    """What to say of a model that was loaded, but whose pickle was written by other minor releases; else None."""
    libraries = _PICKLED.get(str(metadata.pyfunc["loader_module"]), ())
    if any(flavor.get("serialization_format") == "skops" for flavor in metadata.flavors.values()):
        return None
    found = [
        release
        for release in (other_releases(directory, metadata) if libraries else ())
        if release.name in libraries and minor(release.saved_with) != minor(release.installed)
    ]
    if not found:
        return None
    return (
        f"the model was saved with {listed(found)}. It was loaded, but its answers may differ: save it again with "
        f"what is installed, or serve it with {ISOLATION}."
    )


def _packages(missing: Sequence[Requirement]) -> str:
    """What is missing, and the command that installs it: by extras where there are some."""
    plural = len(missing) > 1
    extras = dict.fromkeys(_EXTRAS[wanted.name] for wanted in missing if wanted.name in _EXTRAS)
    arguments = [f"tiltyard[{','.join(extras)}]"] if extras else []
    arguments += [str(wanted) for wanted in missing if wanted.name not in _EXTRAS]
    listed = ", ".join(f"'{wanted}'" for wanted in missing)
    command = " ".join(f"'{argument}'" for argument in arguments)
    return (
        f"the package{'s' if plural else ''} {listed}, which {'are' if plural else 'is'} not installed: "
        f"pip install {command}."
    )


def listed(releases: Sequence[Release]) -> str:
    """The releases, for a message; beyond some only their number."""
    more = len(releases) - _MAX_LISTED
    shown = ", ".join(map(str, releases[:_MAX_LISTED]))
    return f"{shown} and {more} more" if more > 0 else shown
