# system.sh NAME BASE VALUE RECIPIENT KEYFILE: a NixOS system in the store, as this project's module makes one. Its appender has the options $OPTIONS.
cd $WORK
mkdir -p base store/$1
for b in A B; do [ -e base/$b ] || echo "$b: an initrd, compressed" | gzip -n > base/$b; done
rm -rf store/$1/append store/$1/initrd
ln -sf $WORK/base/$2 store/$1/initrd
[ $3 = none ] && exit
mkdir -p store/$1/append/bin
ln -sfn append/bin/append-initrd-secrets store/$1/append-initrd-secrets
[ -e kept-$1.json ] || echo "{\"luks\": \"$3\"}" | sops encrypt --input-type json --output-type json --age $4 --filename-override s.json > kept-$1.json
cp kept-$1.json store/$1/append/s.json
cat > store/$1/append/manifest.json <<END
{ "version": 1, "ageKeyFile": "$WORK/$5", "secrets": [ {"name": "luks", "key": "luks", "format": "json", "sopsFile": "$WORK/store/$1/append/s.json"} ],
  "entries": [ {"path": "/etc/luks.key", "secret": "luks"} ] }
END
cat > store/$1/append/bin/append-initrd-secrets <<END
#!/bin/sh
exec sops-initrd append --manifest $WORK/store/$1/append/manifest.json --base $WORK/store/$1/initrd --state $WORK/state $OPTIONS -- "\$1"
END
chmod +x store/$1/append/bin/append-initrd-secrets
