vcl 4.1;

# For docker compose: the purge worker is another container of the same network.

backend gateway {
    .host = "gateway";
    .port = "8000";
    .first_byte_timeout = 60s;  # more than FRESHET_QUERIES_DEADLINE
}

acl purgers {
    "10.0.0.0"/8;
    "172.16.0.0"/12;
    "192.168.0.0"/16;
    "fd00::"/8;
}

include "./edge.vcl";
