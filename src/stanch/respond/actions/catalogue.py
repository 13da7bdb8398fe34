"""Every action of this release, by name. `policy.ACTIONS` lists those that a policy decides on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stanch.respond.actions.analyze_table.run import ANALYZE_TABLE
from stanch.respond.actions.call_hook.run import CALL_HOOK
from stanch.respond.actions.cancel_statement.run import CANCEL_STATEMENT
from stanch.respond.actions.drop_slot.run import DROP_SLOT
from stanch.respond.actions.end_blocking_session.run import END_BLOCKING_SESSION
from stanch.respond.actions.end_idle_sessions.run import END_IDLE_SESSIONS
from stanch.respond.actions.end_sessions.run import END_SESSIONS
from stanch.respond.actions.free_space.run import FREE_SPACE
from stanch.respond.actions.gather.run import GATHER
from stanch.respond.actions.make_read_only.run import MAKE_READ_ONLY
from stanch.respond.actions.pause_pool.run import PAUSE_POOL
from stanch.respond.actions.quarantine_table.run import QUARANTINE_TABLE
from stanch.respond.actions.raise_container_memory.run import RAISE_CONTAINER_MEMORY
from stanch.respond.actions.rebuild_index.run import REBUILD_INDEX
from stanch.respond.actions.reset_pool.run import RESET_POOL
from stanch.respond.actions.resize_pool.run import RESIZE_POOL
from stanch.respond.actions.restart_compose_service.run import RESTART_COMPOSE_SERVICE
from stanch.respond.actions.restart_container.run import RESTART_CONTAINER
from stanch.respond.actions.restart_server.run import RESTART_SERVER
from stanch.respond.actions.resume_pool.run import RESUME_POOL
from stanch.respond.actions.set_aside_lock_file.run import SET_ASIDE_LOCK_FILE
from stanch.respond.actions.set_parameter.run import SET_PARAMETER
from stanch.respond.actions.set_role_timeout.run import SET_ROLE_TIMEOUT
from stanch.respond.actions.start_server.run import START_SERVER
from stanch.respond.actions.stop_server.run import STOP_SERVER
from stanch.respond.actions.vacuum_table.run import VACUUM_TABLE
from stanch.steps.action import Action

CATALOGUE: Mapping[str, Action] = MappingProxyType(
    {
        action.name: action
        for action in (
            START_SERVER,
            SET_ASIDE_LOCK_FILE,
            END_IDLE_SESSIONS,
            END_BLOCKING_SESSION,
            END_SESSIONS,
            CANCEL_STATEMENT,
            FREE_SPACE,
            RESUME_POOL,
            PAUSE_POOL,
            RESET_POOL,
            RESIZE_POOL,
            CALL_HOOK,
            DROP_SLOT,
            ANALYZE_TABLE,
            VACUUM_TABLE,
            REBUILD_INDEX,
            SET_PARAMETER,
            SET_ROLE_TIMEOUT,
            MAKE_READ_ONLY,
            QUARANTINE_TABLE,
            STOP_SERVER,
            RESTART_SERVER,
            RESTART_CONTAINER,
            RAISE_CONTAINER_MEMORY,
            RESTART_COMPOSE_SERVICE,
            GATHER,
        )
    }
)
