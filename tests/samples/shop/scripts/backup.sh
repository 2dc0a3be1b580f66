#!/bin/bash
target=$1
for file in $(ls /srv/shop/*.db); do
  cp $file $target
done
rm -rf "$target/old"/*
cd $target
tar czf backup.tgz *
