"""What the commands that need PyTorch share."""


def import_torch() -> None:
    """raises MissingDependencyError where the training packages are not installed"""
    from edgecolor.errors import MissingDependencyError

    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
        import yaml  # noqa: F401
    except ImportError as error:
        text = f"this needs the training packages: pip install 'edgecolor[train]' ({error})"
        raise MissingDependencyError(text) from error
