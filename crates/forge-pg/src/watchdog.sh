# Ends a test server that nobody has used for a while, and removes its data. It also ends when the server does.
# Arguments: the server's process id, its home folder, the idle time in seconds.
#
# Whoever uses the server touches `last-used`. Retiring is a rename of the home folder: from then on nobody joins.
# A user may have come in just before it; so the time is looked at once more, and the folder put back.
pid=$1 home=$2 idle=$3
gone="${home%/*}/gone-$pid"
pause=$((idle / 10))
[ "$pause" -ge 1 ] || pause=1
[ "$pause" -le 5 ] || pause=5

modified() { stat -c %Y "$1" 2>/dev/null || stat -f %m "$1" 2>/dev/null || echo 0; }
unused() { [ $(($(date +%s) - $(modified "$1/last-used"))) -ge "$idle" ]; }
serving() { kill -0 "$pid" 2>/dev/null && read -r noted 2>/dev/null <"$home/data/postmaster.pid" && [ "$noted" = "$pid" ]; }

while serving; do
    if unused "$home" && mv "$home" "$gone"; then
        if unused "$gone"; then
            kill -QUIT "$pid"
            left=30
            while kill -0 "$pid" 2>/dev/null && [ "$left" -gt 0 ]; do
                sleep 1
                left=$((left - 1))
            done
            rm -rf "$gone"
            exit
        fi
        mv "$gone" "$home"
    fi
    sleep "$pause"
done
