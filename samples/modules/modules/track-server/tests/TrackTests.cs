using TrackServer;
using Xunit;

public sealed class TrackTests
{
    [Fact]
    public void AShipThatLiesStillLeavesOnePosition()
    {
        var track = new Track(nearMetres: 50);

        Assert.True(track.Add(new Position(54.3, 10.1)));
        Assert.False(track.Add(new Position(54.3001, 10.1001)));
        Assert.Single(track.Positions);
    }

    [Fact]
    public void TheWayIsTheSumOfItsLegs()
    {
        var track = new Track(nearMetres: 50);

        track.Add(new Position(0, 0));
        track.Add(new Position(1, 0));
        track.Add(new Position(1, 1));

        Assert.InRange(track.Metres, 222_000, 223_000);
    }
}
