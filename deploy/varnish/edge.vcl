# What Varnish does as an edge of Freshet (docs/edge.md).  Included by a file that has the backend and the acl `purgers`:
# default.vcl for a gateway on this machine, compose.vcl for docker compose.  Needs Varnish 6.6 or newer and no vmod
# beyond std, which comes with it.

import std;

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ purgers) {
            return (synth(403, "Not from here"));
        }
        # Without a secret on our side nobody is believed.
        if (std.getenv("FRESHET_EDGE_SECRET") == ""
            || req.http.Freshet-Edge-Secret != std.getenv("FRESHET_EDGE_SECRET")) {
            return (synth(403, "Not with this secret"));
        }
        if (req.http.Surrogate-Key !~ "^[a-z0-9_-]+( [a-z0-9_-]+)*$") {
            return (synth(400, "Surrogate-Key: keys with blanks between them"));
        }
        # One ban for all keys, on what objects bear, so that the ban lurker can work it off.  \s stands for the blank,
        # which would end the expression.
        if (!std.ban("obj.http.Surrogate-Key ~ (^|\s)(" + regsuball(req.http.Surrogate-Key, " ", "|") + ")(\s|$)")) {
            return (synth(500, std.ban_error()));
        }
        return (synth(200, "Forgotten"));
    }

    # The door to everyone's passages and to nothing else: nobody publishes or asks for a job through an edge.
    if (req.url !~ "^/v1/retrieve(\?|$)") {
        return (synth(404, "Not at the edge"));
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (synth(405, "GET or HEAD"));
    }
    # Whoever comes this way is everyone: a gateway without API keys would believe these.
    unset req.http.Freshet-Tenant;
    unset req.http.Freshet-Principals;
    unset req.http.Freshet-Edge-Secret;
    unset req.http.Cookie;
    # With an API key it is somebody after all, and the answer is for that one.
    if (req.http.Authorization || req.http.X-API-Key) {
        return (pass);
    }
    return (hash);
}

sub vcl_backend_response {
    # A copy counts for its s-maxage and no second longer.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    # The rest, `no-cache` before all, the gateway is asked about each time: side by side, not one after the other.
    if (beresp.status != 200 || beresp.http.Cache-Control !~ "(^|[ ,])s-maxage=[1-9]") {
        set beresp.ttl = 120s;
        set beresp.uncacheable = true;
    }
    return (deliver);
}

sub vcl_deliver {
    # Caches further out are not told to forget, so they must ask here each time, where a copy answers.
    if (resp.http.Cache-Control ~ "s-maxage") {
        set resp.http.Cache-Control = "public, no-cache";
    }
    unset resp.http.Surrogate-Key;
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    if (obj.hits > 0) {
        set resp.http.Freshet-Edge = "hit";
    } else {
        set resp.http.Freshet-Edge = "miss";
    }
}
