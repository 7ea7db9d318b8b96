#!/bin/sh
# Walks docs/MIGRATING-FROM-NGINX.md on a machine that systemd runs (boot.sh makes one): each command of the page is run
# as it stands there, and what it says it does is looked at. Ends with 0 when none was left out and all was so.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /srv/forebay
page=docs/MIGRATING-FROM-NGINX.md

# --- the page's commands, and how one of them is run
awk '/^```sh/ { on = 1; next } /^```/ { on = 0 } on && NF' "$page" | sed 's/ *#.*//' >commands
cp commands left

failed() {
    echo "walk: $*"
    systemctl --no-pager --lines=20 status nginx forebay-proxy walk-app walk-authority || true
    tail -n 20 /var/log/nginx/error.log || true
    exit 1
}
run() { # how a command of the page begins
    command=$(grep -m 1 -- "^$1" commands) || failed "the page has no command \`$1\`"
    echo "\$ $command"
    eval "$command" || failed "it failed"
    grep -v -x -F -- "$command" left >left.now || true
    mv left.now left
}
hold() { # what should be so within ten seconds, and the command that says whether it is
    what=$1
    shift
    for _ in $(seq 100); do
        if "$@" >/dev/null 2>&1; then
            echo "  so: $what"
            return
        fi
        sleep 0.1
    done
    failed "not so: $what"
}
not() { ! "$@"; }
get() { curl -sk --max-time 5 --resolve shop.example:80:127.0.0.1 --resolve shop.example:443:127.0.0.1 "$@"; }
answers() { [ "$(get "$1")" = "$2" ]; }
main_of() { systemctl show --property MainPID --value "$1"; }
run_by() { [ "$(readlink "/proc/$(main_of "$1")/exe")" = "$2" ]; }
yaml_of() { # a document that the page shows, by the name in its first line
    awk -v name="# $1" '/^```yaml/ { getline; on = ($0 == name) } /^```$/ { on = 0 } on' "$page" >"$1"
    [ -s "$1" ] || failed "the page shows no $1"
}

# --- the site there is: Debian's nginx before an application
mkdir app && echo goods >app/goods
systemd-run --quiet --unit=walk-app --working-directory="$PWD/app" python3 -m http.server --bind 127.0.0.1 3000
cp /etc/nginx/nginx.conf debian.conf
cat >nginx.conf <<'SITE'
user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { }
http {
    access_log /var/log/nginx/access.log;
    server {
        listen 80;
        server_name shop.example;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
SITE
cp nginx.conf /etc/nginx/nginx.conf
systemctl restart nginx
hold "nginx answers" answers http://shop.example/goods goods

# --- report, convert, replay
run "forebay-nginx report"
run "forebay-nginx convert"
run "forebay-proxy check proxy.yaml$"
run "forebay-nginx replay"

# --- mirror: nginx behind Forebay, which asks the translation the same
sed -i 's/listen 80;/listen 127.0.0.1:8080; set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;/' /etc/nginx/nginx.conf
systemctl restart nginx
yaml_of front.yaml
sed -i 's/share: 10%/share: 100%/' front.yaml
yaml_of shift.yaml
run "install -d"
run "(umask"
rm proxy.yaml
run "forebay-nginx convert"
sed -i 's/address: 0.0.0.0:80$/address: 127.0.0.1:8081/' proxy.yaml
run "forebay-proxy check proxy.yaml && forebay-proxy check front.yaml"
run "forebay-proxy run proxy.yaml"
translation=$!
run "forebay-proxy run front.yaml"
FRONT=$!
hold "the front answers" answers http://shop.example/goods goods
compared() { forebay-proxy mirrors front.yaml | tee mirrors.txt | grep -q "$1"; }
hold "copies are compared" compared 'same'
run "forebay-proxy mirrors"

# --- shift: a part of the clients goes to the translation
run "forebay-proxy check shift.yaml"
run "cp shift.yaml front.yaml"
hold "the front goes on" answers http://shop.example/goods goods
run "forebay-proxy top"
kill -QUIT "$FRONT" "$translation"
wait

# --- in nginx's place: Debian's own nginx.conf and unit, with the site beside those it has
cp debian.conf /etc/nginx/nginx.conf
cat >/etc/nginx/sites-enabled/shop <<'SITE'
server {
    listen 80;
    server_name shop.example;
    location / { proxy_pass http://127.0.0.1:3000; }
}
SITE
systemctl restart nginx
hold "nginx answers" answers http://shop.example/goods goods
run "ln -s"
hash -r
run "nginx -t"
run "nginx -V"
run "nginx -s reload"
run "sed -i"
run "install -D -m 644"
run "systemd-analyze verify"
run "systemctl daemon-reload"
hold "Forebay runs" run_by nginx /usr/bin/forebay-proxy
hold "it answers" answers http://shop.example/goods goods
systemctl --no-pager --lines=0 status nginx

echo "server { listen 127.0.0.1:8088; return 200 more; }" >/etc/nginx/sites-enabled/more
before=$(main_of nginx)
systemctl reload nginx || failed "systemctl reload nginx"
hold "a reload opens a port" answers http://127.0.0.1:8088/ more
[ "$(main_of nginx)" = "$before" ] || failed "another process after a reload"
echo "server { lisen 1; }" >/etc/nginx/sites-enabled/more
not systemctl reload nginx || failed "a wrong file was taken"
hold "a refused reload changes nothing" answers http://127.0.0.1:8088/ more
rm /etc/nginx/sites-enabled/more
systemctl reload nginx || failed "systemctl reload nginx"
mv /var/log/nginx/access.log /var/log/nginx/access.log.1
invoke-rc.d nginx rotate || failed "logrotate's command"
logged() { get http://shop.example/goods && grep -q 'GET /goods' /var/log/nginx/access.log; }
hold "logs are opened again" logged
systemctl stop nginx || failed "systemctl stop nginx"
not test -e /run/nginx/nginx.pid || failed "a pid file after the end"
systemctl start nginx || failed "systemctl start nginx"
hold "it answers" answers http://shop.example/goods goods
systemctl restart nginx || failed "systemctl restart nginx"
hold "it answers" answers http://shop.example/goods goods

# --- certbot, and an authority to which every name is this machine
openssl req -x509 -newkey ed25519 -nodes -subj /CN=localhost -keyout own.key -out own.pem 2>/dev/null
cat >pebble.json <<JSON
{ "pebble": { "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
  "certificate": "$PWD/own.pem", "privateKey": "$PWD/own.key", "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "" } }
JSON
systemd-run --quiet --unit=walk-names pebble-challtestsrv -dns01 127.0.0.1:8053 -management 127.0.0.1:8055 \
    -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 ""
systemd-run --quiet --unit=walk-authority --setenv=PEBBLE_VA_NOSLEEP=1 pebble -config "$PWD/pebble.json" -dnsserver 127.0.0.1:8053
cat >>/etc/letsencrypt/cli.ini <<'INI'
server = https://127.0.0.1:14000/dir
no-verify-ssl = true
agree-tos = true
email = a@shop.example
non-interactive = true
no-random-sleep-on-renew = true
nginx-sleep-seconds = 5
INI
hold "the authority is there" get https://127.0.0.1:14000/dir
run "install -D -m 755"
run "certbot --nginx"
hold "the site is there with its certificate" answers https://shop.example/goods goods
shown() { get -o /dev/null -w '%{certs}' https://shop.example/ | sed -n '/BEGIN/,/END/p' | openssl x509 -noout -serial; }
first=$(shown)
run "certbot renew --dry-run"
[ "$(shown)" = "$first" ] || failed "a dry run changed the certificate"
# What certbot.timer runs, when it is time.
sed -i 's/^# renew_before_expiry = .*/renew_before_expiry = 3650 days/' /etc/letsencrypt/renewal/shop.example.conf
systemctl start certbot.service || failed "certbot.service"
another() { [ "$(shown)" != "$first" ]; }
hold "the renewed certificate is shown" another
systemctl restart nginx || failed "systemctl restart nginx"
hold "the renewed certificate is read by a start" another
systemctl stop nginx

# --- Forebay's own units
useradd --system forebay
cat >/etc/forebay/proxy.yaml <<'YAML'
version: 1
listeners: { public: { address: 0.0.0.0:443 } }
upstreams: { app: { servers: [ { address: 127.0.0.1:3000 } ] } }
routes: [ { name: all, upstream: app } ]
admin: { address: 127.0.0.1:9090 }
YAML
chmod 755 /etc/forebay && chmod 644 /etc/forebay/proxy.yaml
cp packaging/forebay-proxy.service packaging/forebay-proxy.socket /etc/systemd/system/
systemctl daemon-reload
systemctl start forebay-proxy.socket || failed "forebay-proxy.socket"
hold "the socket starts the proxy" answers http://shop.example:443/goods goods
sed -i 's/name: all/name: every/' /etc/forebay/proxy.yaml
systemctl reload forebay-proxy || failed "systemctl reload forebay-proxy"
reloaded() { get http://127.0.0.1:9090/metrics | grep -q 'config_reloads_total{result="ok"} 1'; }
hold "a reload is taken" reloaded
before=$(main_of forebay-proxy)
systemctl kill --signal=SIGUSR2 --kill-whom=main forebay-proxy
handed_over() { [ "$(main_of forebay-proxy)" != "$before" ] && answers http://shop.example:443/goods goods; }
hold "another process is the service's main one" handed_over
hold "and the old one is gone" not test -e "/proc/$before"
systemctl is-active forebay-proxy || failed "the service does not live on"
systemctl stop forebay-proxy.socket forebay-proxy || failed "systemctl stop forebay-proxy"

[ ! -s left ] || { cat left; failed "these commands of the page were not run"; }
echo "walk: all $(wc -l <commands) commands of $page were run"
