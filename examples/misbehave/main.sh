#!/bin/sh
# Each attempt is one that an Op must fail at. What the program said is what stopped it. Exits 1 if anything worked.
worked=0

attempt() {
  what=$1
  shift
  if ! command -v "$1" >/dev/null 2>&1; then
    printf '%-38s not tried: there is no %s here\n' "$what" "$1"
    return
  fi
  if said=$("$@" 2>&1 </dev/null); then
    printf '%-38s WORKED\n' "$what"
    worked=1
  else
    said=$(printf '%s\n' "$said" | head -n 1)
    printf '%-38s stopped: %s\n' "$what" "${said##*: }"
  fi
}

attempt "read the password hashes" cat /etc/shadow
attempt "look into root's home" ls /root
attempt "look into users' homes" ls /home
attempt "read the kernel's memory" head -c 1 /proc/kcore
attempt "change a program in /usr/bin" sh -c 'echo x > /usr/bin/env'
attempt "leave a file in /etc" sh -c 'echo x > /etc/evil'
attempt "change the Op itself" sh -c 'echo x > /op/main.sh'
attempt "run a program from /tmp" sh -c 'cp /bin/true /tmp/t && chmod 755 /tmp/t && /tmp/t'
attempt "make a device node" mknod /tmp/disk b 8 0
attempt "mount a file system" mount -t tmpfs none /tmp
attempt "make a user namespace" unshare --user true
attempt "enter the host's namespaces" nsenter --target 1 --mount true
attempt "become root" setpriv --reuid 0 true
attempt "trace another process" strace -p 1
attempt "change a kernel setting" sh -c 'echo 1 > /proc/sys/kernel/core_pattern'
attempt "signal a process of the host" sh -c 'kill -0 2147483'
attempt "reach the network" perl -MIO::Socket::INET -e '
  IO::Socket::INET->new(PeerAddr => "1.1.1.1:443", Timeout => 3) or die "$!\n"'
attempt "reach a service on the host" perl -MIO::Socket::INET -e '
  IO::Socket::INET->new(PeerAddr => "127.0.0.1:22", Timeout => 3) or die "$!\n"'
attempt "open a raw socket" perl -e 'socket(S, 2, 3, 1) or die "$!\n"'
attempt "talk to the container daemon" ls /var/run/docker.sock

echo
echo "Processes that I can see: $(ls -d /proc/[0-9]* 2>/dev/null | wc -l)"
echo "Network devices: $(awk -F: 'NR > 2 { gsub(/ /, "", $1); printf "%s ", $1 }' /proc/net/dev 2>/dev/null)"
exit "$worked"
