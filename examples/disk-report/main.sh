#!/bin/sh
# Reports what can be seen from inside the sandbox. / is a small tmpfs of this run alone; /usr is the host's, read-only,
# so its line tells how full the disk below the host's /usr is. Other disks of the host show up only when root lists
# them as resources and the Op asks for them by name.
set -eu

echo "How full (as seen by this Op):"
df -h / /usr /tmp 2>/dev/null || echo "df can't be run here"

echo
echo "Free inodes in /tmp:"
df -i /tmp 2>/dev/null | awk 'NR == 2 { print $4 " of " $2 }'

if [ "${INPUT_MOUNTS:-false}" = true ]; then
  echo
  echo "Mounts (where, type, flags):"
  if [ -r /proc/mounts ]; then
    awk '{ print $2, $3, $4 }' /proc/mounts
  else
    echo "/proc is not mounted in this sandbox"
  fi
fi
