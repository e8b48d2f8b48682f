"""A Hydra source of configurations that lets `env=<any Gymnasium id>` work without a YAML file.

It stands last on the search path: a YAML in `conf/env/` of the same name wins. Whether the id
exists is not asked here but when the configuration is checked, where a near miss can be offered.
An id starts from the base YAML of its family, such as `conf/env/_atari.yaml` for `ALE/Pong-v5`.
"""

from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from rlrun.envs.families import family_of

PREFIX = "env/"


class GymnasiumSource(ConfigSource):
    """Serves `env/<id>` for every id, and lists those installed for shell completion."""

    @staticmethod
    def scheme() -> str:
        """Return the prefix on Hydra's search path."""
        return "gymnasium"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the configuration of `env/<id>`."""
        if not self.is_config(config_path):
            raise ConfigLoadError(f"no configuration {config_path}")
        env_id = config_path.removeprefix(PREFIX).removesuffix(".yaml")
        family = family_of(env_id)
        defaults = [family.base if family else "_base", "_self_"]
        config = OmegaConf.create({"defaults": defaults, "name": env_id, "id": env_id})
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=config,
            header={"package": "env"},
        )

    def available(self) -> bool:
        """Say that this source can always be asked."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Say whether a path is the group."""
        return config_path.strip("/") in ("", "env")

    def is_config(self, config_path: str) -> bool:
        """Say whether a path lies in the group."""
        return config_path.startswith(PREFIX) and config_path != PREFIX

    def list(self, config_path: str, results_filter: Any) -> list[str]:
        """Return the ids that are installed."""
        if config_path.strip("/") == "" and results_filter != ObjectType.CONFIG:
            return ["env"]
        if config_path.strip("/") != "env" or results_filter == ObjectType.GROUP:
            return []
        from rlrun.envs.registry import installed

        return installed()


def register() -> None:
    """Make the source known to Hydra; more than once does no harm."""
    Plugins.instance().register(GymnasiumSource)
