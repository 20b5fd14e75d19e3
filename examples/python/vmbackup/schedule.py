# SPDX-License-Identifier: Apache-2.0
"""When schedules are due, in Velero's cron dialect. Times are nanoseconds since 1970."""
import json
from ctypes import byref, c_int32, c_int64
from typing import Any, Dict, Mapping, Optional, Tuple

from ._abi import lib
from .errors import call, take_json


def _zone(zone: Optional[str]) -> Optional[bytes]:
    return None if zone is None else zone.encode()


def next_after(expression: str, after_unix_ns: int, zone: Optional[str] = None) -> int:
    """The first time after a given one; zone is that of an expression without one."""
    out = c_int64()
    call(lib.vmb_schedule_next, expression.encode(), _zone(zone), after_unix_ns, byref(out))
    return out.value


def last_before(expression: str, before_unix_ns: int, zone: Optional[str] = None) -> int:
    """The last time before a given one."""
    out = c_int64()
    call(lib.vmb_schedule_prev, expression.encode(), _zone(zone), before_unix_ns, byref(out))
    return out.value


def due(expression: str, base_unix_ns: int, now_unix_ns: int,
        zone: Optional[str] = None) -> Tuple[bool, int]:
    """Whether a run is due that counts from base, and the first time after base."""
    yes, at = c_int32(), c_int64()
    call(lib.vmb_schedule_due, expression.encode(), _zone(zone), base_unix_ns, now_unix_ns,
         byref(yes), byref(at))
    return bool(yes.value), at.value


def backup_of(schedule: Mapping[str, Any], now_unix_ns: int,
              zone: Optional[str] = None) -> Dict[str, Any]:
    """The Backup that a Schedule makes at a time."""
    data = json.dumps(schedule).encode()
    return take_json(lib.vmb_schedule_backup_json, data, len(data), _zone(zone), now_unix_ns)
