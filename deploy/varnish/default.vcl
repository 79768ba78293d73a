vcl 4.1;

# For a gateway on this machine: varnishd -a 127.0.0.1:6081 -f "$PWD/deploy/varnish/default.vcl", with
# FRESHET_EDGE_SECRET in its environment.

backend gateway {
    .host = "127.0.0.1";
    .port = "8000";
    .first_byte_timeout = 60s;  # more than FRESHET_QUERIES_DEADLINE
}

acl purgers {
    "127.0.0.1";
    "::1";
}

include "./edge.vcl";
