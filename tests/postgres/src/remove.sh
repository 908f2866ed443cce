# Removes a home: the servers that run from it, network namespaces that it lists, what is mounted in it, itself.
#
#   remove.sh HOME          when its input ends, which is when the test that owns the home has ended
home=$1
# The terminal's signals are for the test; this outlives it.
trap '' HUP INT TERM
while read -r _; do :; done

# Whether process $1 is one of this home's servers, and not another that got its number.
is_ours() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF -- "$home"; }

stop_server() {
    is_ours "$1" || return 0
    kill -QUIT "$1" 2>/dev/null
    kill -CONT "$1" 2>/dev/null
    tries=0
    while is_ours "$1"; do
        tries=$((tries + 1))
        [ "$tries" = 200 ] && kill -KILL "$1" 2>/dev/null
        [ "$tries" -gt 400 ] && return 0
        sleep 0.05
    done
}

for file in "$home"/*.pid; do
    if [ -f "$file" ]; then stop_server "$(cat "$file")"; fi
done
# A server that was killed leaves a little shared memory; the seventh line of its lock file names it.
for lock in "$home"/*.lockfile; do
    if [ -f "$lock" ]; then ipcrm -m "$(awk 'NR == 7 { print $2 }' "$lock")" 2>/dev/null; fi
done
if [ -f "$home/namespaces" ]; then
    while read -r name; do
        for pid in $(ip netns pids "$name" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null; done
        ip netns del "$name" 2>/dev/null
    done <"$home/namespaces"
fi
awk -v home="$home/" 'index($2, home) == 1 { print $2 }' /proc/self/mounts | while read -r mount; do
    umount -l "$mount"
done
rm -rf -- "$home"
