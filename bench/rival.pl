#!/usr/bin/perl
# The report as straight Perl makes it. perl rival.pl JSON::XS|JSON::PP REPLY FACTS TIME
# For each line on stdin: `report` prints the report, a number N makes it N times and prints the seconds of one.

use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($module, $reply_file, $facts_file, $now) = @ARGV;
eval "require $module; 1" or do { print "missing\n"; exit 0 };
print $module->VERSION, "\n";
$| = 1;

my $json = $module->new->utf8->canonical;
my %usable = map { $_ => 1 } ('ready', 'ghost', 'i/o pending');
my %badness = (optimal => 0, unknown => 1, degraded => 2, failed => 3);
my $reply = slurp($reply_file);
my $facts = $json->decode(slurp($facts_file));

sub slurp {
    my ($file) = @_;
    open(my $handle, '<:raw', $file) or die "$file: $!\n";
    local $/;
    return <$handle>;
}

sub report {
    my ($text, $sizes, $transports, $time) = @_;
    my %maps;
    for my $shown (@{ $json->decode($text)->{maps} }) {
        my $wwid = $shown->{uuid};
        next if $wwid eq '';
        my ($active, $total, $transport) = (0, 0);
        for my $group (@{ $shown->{path_groups} }) {
            for my $path (@{ $group->{paths} }) {
                $total++;
                $active++ if $path->{dm_st} eq 'active' && $usable{ $path->{chk_st} };
                $transport //= $transports->{ $path->{dev} };
            }
        }
        my $state = !$active ? 'failed' : $active == $total ? 'optimal' : 'degraded';
        next if $maps{$wwid} && $badness{ $maps{$wwid}{state} } >= $badness{$state};
        my $entry = { state => $state, 'paths-active' => $active, 'paths-total' => $total };
        my $size = $sizes->{ $shown->{sysfs} };
        $entry->{size} = $size if defined $size;
        $entry->{transport} = $transport if defined $transport;
        $maps{$wwid} = $entry;
    }
    return $json->encode({ maps => \%maps, time => $time });
}

while (my $line = <STDIN>) {
    chomp $line;
    if ($line eq 'report') {
        print report($reply, $facts->{sizes}, $facts->{transports}, $now + 0), "\n";
        next;
    }
    my $start = clock_gettime(CLOCK_MONOTONIC);
    report($reply, $facts->{sizes}, $facts->{transports}, $now + 0) for 1 .. $line;
    printf "%.9f\n", (clock_gettime(CLOCK_MONOTONIC) - $start) / $line;
}
